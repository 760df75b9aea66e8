import DrillCore
import Foundation

/// Credentials that the machine or container is given: over link-local or loopback HTTP, never through a proxy (S33).
struct MetadataEndpoints: Sendable {
    let environment: DrillEnvironment

    private var variables: [String: String] { environment.variables }

    // MARK: Containers (ECS, EKS Pod Identity)

    /// nil where no container endpoint is configured.
    func container() async throws -> AWSCredentials? {
        let source = "the container credentials endpoint"
        let location: (origin: HTTPOrigin, target: String)
        if let relative = variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], relative.hasPrefix("/") {
            location = (HTTPOrigin(isSecure: false, host: "169.254.170.2"), relative)
        } else if let full = variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], !full.isEmpty {
            location = try Self.split(full)
        } else {
            return nil
        }
        var headers: [(name: String, value: String)] = []
        if let file = variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
            guard let token = try ProfileFiles.read(file, home: variables["HOME"] ?? "") else {
                throw DrillError(.couldNotLook, "the container's authorization token file is not there", at: file)
            }
            headers = [("authorization", token.trimmingCharacters(in: .whitespacesAndNewlines))]
        } else if let token = variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] {
            headers = [("authorization", token)]
        }
        // A line end would start a header of its own (S2).
        guard headers.allSatisfy({ $0.value.utf8.allSatisfy { $0 >= 0x20 } }) else {
            throw DrillError(.couldNotLook, "the container's authorization token holds control characters")
        }
        var request = HTTPRequest(.get, location.origin, location.target)
        request.headers = headers
        return try CredentialAnswer.credentials(try await answer(request, source), source: source)
    }

    /// Plain HTTP is only for this machine and the two addresses of the container agents.
    static func split(_ uri: String) throws -> (origin: HTTPOrigin, target: String) {
        let authorityStart = uri.range(of: "://")?.upperBound ?? uri.startIndex
        let slash = uri[authorityStart...].firstIndex(of: "/") ?? uri.endIndex
        guard let origin = S3Address.origin(String(uri[..<slash])) else {
            throw DrillError(.couldNotLook, "AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL")
        }
        let allowed = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "[::1]", "localhost"]
        guard origin.isSecure || allowed.contains(origin.host) || isLoopback(origin.host) else {
            throw DrillError(
                .couldNotLook,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI names \(origin.host), which is neither this machine nor a container agent"
            )
        }
        return (origin, slash == uri.endIndex ? "/" : String(uri[slash...]))
    }

    private static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    // MARK: Instances (EC2)

    /// nil where this is no such machine, or asking was switched off.
    func instance() async throws -> AWSCredentials? {
        guard variables["AWS_EC2_METADATA_DISABLED"]?.lowercased() != "true" else { return nil }
        let origin =
            variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"].flatMap(S3Address.origin)
            ?? HTTPOrigin(isSecure: false, host: "169.254.169.254")
        let source = "the instance metadata service"
        var session = HTTPRequest(.put, origin, "/latest/api/token")
        session.headers = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")]
        session.timeout = .seconds(1)
        let token: String
        do {
            let response = try await environment.http.send(session)
            guard response.status == 200 else { return nil }
            token = String(decoding: response.body, as: UTF8.self)
        } catch is HTTPFailure {
            return nil
        }
        guard !token.isEmpty, token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        func get(_ path: String) async throws -> [UInt8] {
            var request = HTTPRequest(.get, origin, path)
            request.headers = [("x-aws-ec2-metadata-token", token)]
            return try await answer(request, source)
        }
        let roles = String(decoding: try await get("/latest/meta-data/iam/security-credentials/"), as: UTF8.self)
        guard let role = roles.split(whereSeparator: \.isNewline).first else { return nil }
        let body = try await get("/latest/meta-data/iam/security-credentials/" + URLEncoding.component(String(role)))
        return try CredentialAnswer.credentials(body, source: source)
    }

    private func answer(_ request: HTTPRequest, _ source: String) async throws -> [UInt8] {
        var request = request
        request.timeout = .seconds(5)
        request.bodyLimitBytes = 64 << 10
        do {
            let response = try await environment.http.send(request)
            guard response.status == 200 else {
                throw DrillError(
                    .couldNotLook, "\(source) answered with HTTP \(response.status)", at: "\(request.origin)")
            }
            return response.body
        } catch let failure as HTTPFailure {
            throw DrillError(.couldNotLook, "\(source): \(failure.what)", at: "\(request.origin)", cause: failure)
        }
    }
}
