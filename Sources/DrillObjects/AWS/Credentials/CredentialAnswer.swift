import DrillCore
import Foundation

/// The JSON in which container endpoints, instance metadata and credential processes hand keys out.
struct CredentialAnswer: Decodable {
    var AccessKeyId: String?
    var SecretAccessKey: String?
    /// Container endpoints and instance metadata.
    var Token: String?
    /// Credential processes.
    var SessionToken: String?
    var Expiration: String?
    var Code: String?

    /// Never echoes what was answered: it holds secrets.
    static func credentials(_ body: [UInt8], source: String) throws -> AWSCredentials {
        guard let answer = try? JSONDecoder().decode(CredentialAnswer.self, from: Data(body)),
            answer.Code ?? "Success" == "Success",
            let id = answer.AccessKeyId, let secret = answer.SecretAccessKey
        else {
            throw DrillError(
                .couldNotLook, "\(source) gave no credentials",
                hints: ["Its answer is no JSON with AccessKeyId and SecretAccessKey."])
        }
        let expiry = answer.Expiration.flatMap { Timestamps.microseconds($0) }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: (answer.SessionToken ?? answer.Token).map(Secret.init),
            expiresAt: expiry.map { Double($0) / 1_000_000 }, source: source)
    }
}
