import DrillCore
import Foundation

/// The usual places in the usual order: environment, web identity, profile, container, instance (S32). What was found
/// is kept until five minutes before it expires.
actor CredentialChain: CredentialSource {
    private let environment: DrillEnvironment
    /// Named in the drill file: then nothing else is looked at.
    private let profile: String?
    private let region: String
    private var found: AWSCredentials?
    /// When new ones are looked for, seconds since 1970 UTC: five minutes before the end, or halfway to it where that is
    /// sooner.
    private var renewsAt = Double.infinity
    private var search: Task<AWSCredentials, any Error>?

    init(environment: DrillEnvironment, profile: String?, region: String) {
        self.environment = environment
        self.profile = profile
        self.region = region
    }

    /// For a person; nil before anything was found.
    var source: String? { found?.source }

    func current() async throws -> AWSCredentials {
        let now = environment.clock.now().timeIntervalSince1970
        if let found, now < renewsAt { return found }
        do {
            return try await renewed()
        } catch {
            // Those at hand still hold for a while.
            guard let found, let end = found.expiresAt, now < end else { throw error }
            return found
        }
    }

    func refresh(after refused: AWSCredentials) async throws {
        // Another request may have done so in the meantime.
        if let found, found.accessKeyID != refused.accessKeyID { return }
        found = nil
        _ = try await renewed()
    }

    /// One search at a time, whoever asks.
    private func renewed() async throws -> AWSCredentials {
        if let search { return try await search.value }
        let task = Task { try await self.look() }
        search = task
        defer { search = nil }
        let credentials = try await task.value
        found = credentials
        let now = environment.clock.now().timeIntervalSince1970
        renewsAt = credentials.expiresAt.map { $0 - min(300, ($0 - now) / 2) } ?? .infinity
        return credentials
    }

    private func look() async throws -> AWSCredentials {
        let variables = environment.variables
        let files = try ProfileFiles(variables: variables)
        let profiles = ProfileCredentials(environment: environment, files: files, region: region)
        if let profile {
            if let keys = try await profiles.credentials(profile) { return keys }
            throw DrillError(
                .couldNotLook, "there are no credentials in profile \"\(profile)\"",
                at: files.places.joined(separator: ", "),
                hints: ["The drill file names this profile: no other place is looked at."])
        }
        if let keys = Self.fromEnvironment(variables) { return keys }
        if let tokenFile = variables["AWS_WEB_IDENTITY_TOKEN_FILE"], let arn = variables["AWS_ROLE_ARN"] {
            let role = TokenService.Role(arn: arn, sessionName: variables["AWS_ROLE_SESSION_NAME"] ?? "muster")
            return try await TokenService(environment: environment, region: region)
                .assume(role, webIdentityTokenFile: tokenFile, source: "the web identity token")
        }
        let name = variables["AWS_PROFILE"] ?? variables["AWS_DEFAULT_PROFILE"]
        if let keys = try await profiles.credentials(name ?? "default") { return keys }
        if let name {
            throw DrillError(
                .couldNotLook, "there are no credentials in profile \"\(name)\" (AWS_PROFILE)",
                at: files.places.joined(separator: ", "))
        }
        let metadata = MetadataEndpoints(environment: environment)
        if let keys = try await metadata.container() { return keys }
        if let keys = try await metadata.instance() { return keys }
        throw DrillError(
            .couldNotLook, "no AWS credentials were found",
            hints: [
                "Looked at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE, "
                    + "\(files.places.joined(separator: " and ")), the container endpoint and instance metadata.",
                "Name a profile with `profile:`, or set the variables. Reading a drill's buckets needs s3:ListBucket, s3:GetObject and, "
                    + "for versions, s3:ListBucketVersions and s3:GetObjectVersion.",
            ])
    }

    static func fromEnvironment(_ variables: [String: String]) -> AWSCredentials? {
        guard let id = variables["AWS_ACCESS_KEY_ID"], let secret = variables["AWS_SECRET_ACCESS_KEY"], !id.isEmpty,
            !secret.isEmpty
        else { return nil }
        let token = variables["AWS_SESSION_TOKEN"] ?? variables["AWS_SECURITY_TOKEN"]
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: token.flatMap { $0.isEmpty ? nil : Secret($0) },
            source: "the environment (AWS_ACCESS_KEY_ID)")
    }
}
