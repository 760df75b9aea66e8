import DrillCore

/// Keys that requests are signed with.
struct AWSCredentials: Sendable {
    var accessKeyID: String
    var secretAccessKey: Secret
    var sessionToken: Secret?
    /// Seconds since 1970 UTC; nil where they do not expire.
    var expiresAt: Double?
    /// Where they were found, for a person: `the environment`, `profile "backup" of ~/.aws/credentials`.
    var source: String

    init(
        accessKeyID: String, secretAccessKey: Secret, sessionToken: Secret? = nil, expiresAt: Double? = nil,
        source: String
    ) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expiresAt = expiresAt
        self.source = source
    }
}
