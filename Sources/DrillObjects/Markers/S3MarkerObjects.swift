import DrillCore
import Foundation

/// Puts one marker object into the production bucket, for `muster mark`.
struct S3MarkerObjects: MarkerObjects {
    static let kind = "s3"
    static let shape = SettingsShape(
        "s3: the production bucket",
        [SettingsField("bucket", .text, "Its name. Default: the bucket that rows name.")] + S3Settings.connectionFields)

    private let settings: S3Settings
    private let environment: DrillEnvironment

    init(bucket: String, _ reader: SettingsReader, _ environment: DrillEnvironment) throws {
        self.environment = environment
        settings = try S3Settings(reader, bucket: reader.string("bucket") ?? bucket, environment)
    }

    var place: String { settings.place }

    func put(_ key: ObjectKey, _ content: [UInt8]) async throws -> Date? {
        let credentials = CredentialChain(
            environment: environment, profile: settings.profile, region: settings.address.region)
        let client = settings.client(environment, credentials)
        var call = S3Call(marker: settings.prefix + key.bytes, content)
        call.timeout = .seconds(60)
        do {
            let response = try await client.send(call)
            return response.head.value("date").flatMap(Timestamps.httpDateSeconds).map {
                Date(timeIntervalSince1970: Double($0))
            }
        } catch {
            throw DrillError(s3: error, at: place, credentials: await credentials.source)
        }
    }
}
