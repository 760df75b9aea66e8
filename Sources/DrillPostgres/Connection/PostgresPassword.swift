import DrillCore

/// Where a drill file's `password_file` and `password_env` say that a password is; it never stands in the drill file itself.
struct PostgresPassword: Sendable {
    static let fields = [
        SettingsField("password_file", .text, "A file with the password on its first line. Default: ~/.pgpass."),
        SettingsField("password_env", .text, "The environment variable that holds the password."),
    ]

    /// Absolute.
    var file: String?
    /// What the variable holds.
    var secret: Secret?

    init(_ settings: SettingsReader, _ environment: DrillEnvironment) throws {
        file = try settings.file("password_file")
        guard let name = try settings.string("password_env") else { return }
        guard file == nil else { throw settings.error("password_env", "stands beside `password_file`; give one") }
        guard let value = environment.variables[name], !value.isEmpty else {
            throw settings.error("password_env", "the environment variable `\(printable(name.utf8))` is not set")
        }
        secret = Secret(value)
    }
}
