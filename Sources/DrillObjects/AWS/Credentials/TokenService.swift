import DrillCore
import Foundation

/// AWS STS: trades credentials or a web identity token for those of a role.
struct TokenService: Sendable {
    let environment: DrillEnvironment
    let region: String

    struct Role: Sendable {
        var arn: String
        var sessionName: String
        var externalID: String?
        var durationSeconds: String?
    }

    func assume(_ role: Role, with keys: AWSCredentials, source: String) async throws -> AWSCredentials {
        var form = [
            ("Action", "AssumeRole"), ("Version", "2011-06-15"), ("RoleArn", role.arn),
            ("RoleSessionName", role.sessionName),
        ]
        if let id = role.externalID { form.append(("ExternalId", id)) }
        if let seconds = role.durationSeconds { form.append(("DurationSeconds", seconds)) }
        return try await ask(form, action: "AssumeRole", signedWith: keys, source: source)
    }

    /// - Parameter tokenFile: Read anew each time: whoever runs the pod renews it (S32).
    func assume(_ role: Role, webIdentityTokenFile tokenFile: String, source: String) async throws -> AWSCredentials {
        guard let token = try ProfileFiles.read(tokenFile, home: environment.variables["HOME"] ?? "") else {
            throw DrillError(.couldNotLook, "the web identity token file is not there", at: tokenFile)
        }
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15"), ("RoleArn", role.arn),
            ("RoleSessionName", role.sessionName),
            ("WebIdentityToken", token.trimmingCharacters(in: .whitespacesAndNewlines)),
        ]
        return try await ask(form, action: "AssumeRoleWithWebIdentity", signedWith: nil, source: source)
    }

    private func ask(
        _ form: [(String, String)], action: String, signedWith keys: AWSCredentials?, source: String
    ) async throws -> AWSCredentials {
        let configured = environment.variables["AWS_ENDPOINT_URL_STS"] ?? environment.variables["AWS_ENDPOINT_URL"]
        let origin =
            configured.flatMap(S3Address.origin)
            ?? HTTPOrigin(isSecure: true, host: "sts.\(region).\(S3Address.suffix(region))")
        var request = HTTPRequest(.post, origin, "/")
        request.headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")]
        request.body = Array(form.map { "\($0)=\(URLEncoding.component($1))" }.joined(separator: "&").utf8)
        request.timeout = .seconds(30)
        request.bodyLimitBytes = SmallDocument.sizeLimit
        request.trust = HTTPTrust(caFile: environment.variables["AWS_CA_BUNDLE"])
        if let keys {
            let now = Int64(environment.clock.now().timeIntervalSince1970)
            RequestSigner(service: "sts").sign(&request, credentials: keys, region: region, seconds: now)
        }
        let response: HTTPResponse
        do {
            response = try await environment.http.send(request)
        } catch let failure as HTTPFailure {
            throw DrillError(.couldNotLook, "\(action) for \(source): \(failure.what)", at: "\(origin)", cause: failure)
        }
        guard response.status == 200 else {
            let code = S3ErrorBody(response.body).map { " (\($0.code))" } ?? ""
            throw DrillError(
                .couldNotLook, "\(action) for \(source) was answered with HTTP \(response.status)\(code)",
                at: "\(origin)",
                hints: ["The role must trust these credentials, and they need sts:\(action)."])
        }
        guard let document = try? SmallDocument(response.body) else {
            throw DrillError(
                .couldNotLook, "\(action) for \(source) was answered with something that is no XML", at: "\(origin)")
        }
        func text(_ name: String) -> String? { document.text("\(action)Result/Credentials/\(name)") }
        guard let id = text("AccessKeyId"), let secret = text("SecretAccessKey"), let token = text("SessionToken")
        else {
            throw DrillError(.couldNotLook, "\(action) for \(source) gave no credentials", at: "\(origin)")
        }
        let expiry = text("Expiration").flatMap { Timestamps.microseconds($0) }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret), sessionToken: Secret(token),
            expiresAt: expiry.map { Double($0) / 1_000_000 }, source: source)
    }
}
