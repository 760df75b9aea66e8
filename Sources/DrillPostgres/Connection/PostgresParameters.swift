import CLibPQ
import DrillCore
import Foundation

/// Where and as whom to connect. Nothing else decides it: no `PG…` variable of the process, no service file (V7).
struct PostgresParameters: Sendable {
    /// libpq keywords and values; never `password`.
    private(set) var values: [String: String]
    private(set) var password: Secret?
    /// Makes a password for each session, in place of `password`, where one holds only for a while.
    var passwordSource: (@Sendable () async throws -> Secret)?

    /// - Parameter values: libpq keywords, such as `host` (a directory for a socket), `port`, `user`, `dbname`.
    init(_ values: [String: String], password: Secret? = nil) {
        self.values = values
        self.password = password
    }

    subscript(keyword: String) -> String? {
        get { values[keyword] }
        set { values[keyword] = newValue }
    }

    /// For a person: host, port, database and role.
    var place: String {
        let shown = ["host", "hostaddr", "port", "dbname", "user"].compactMap { word in
            values[word].map { "\(word)=\($0)" }
        }
        return "postgres(\(shown.joined(separator: " ")))"
    }

    /// Reads the `server` of a drill file: `host=db port=5432 dbname=app user=drill`, or a `postgresql://` address.
    ///
    /// - Parameters:
    ///   - variables: Of them only `PGPASSFILE` counts.
    ///   - passwordFile: A file that holds the password alone, on its first line.
    static func parse(
        _ conninfo: String, variables: [String: String], passwordFile: String? = nil
    ) throws(DrillError) -> Self {
        var values: [String: String] = [:]
        var complaint: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(conninfo, &complaint) else {
            PQfreemem(complaint)
            // libpq's message quotes the text, which may hold a password.
            throw DrillError(
                .usage, "the server is not a list of keyword=value pairs that libpq knows",
                hints: ["Write it as `host=… port=… dbname=… user=…` (PostgreSQL manual, Connection Strings)."])
        }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        for refused in ["password", "sslpassword"] where values[refused] != nil {
            throw DrillError(
                .usage, "a password in the drill file",
                hints: ["Name a `password_file`, or keep it in ~/.pgpass or the file that PGPASSFILE names."])
        }
        if values["service"] != nil {
            throw DrillError(
                .usage, "`service` leaves it to a file elsewhere which server is meant",
                hints: ["Write out host, port, dbname and user."])
        }
        for refused in ["replication", "options"] where values[refused] != nil {
            throw DrillError(.usage, "`\(refused)` cannot be set here; a probe's session has its own")
        }
        if values["passfile"] == nil, let file = variables["PGPASSFILE"], !file.isEmpty { values["passfile"] = file }
        return Self(values, password: try passwordFile.map { file throws(DrillError) in try readPassword(file) })
    }

    /// With the password that a session opened now needs.
    func withCurrentPassword() async throws -> Self {
        guard let passwordSource else { return self }
        return Self(values, password: try await passwordSource())
    }

    /// Reads `server` of those settings; what is wrong with it is told with file and line.
    static func parse(
        _ settings: SettingsReader, variables: [String: String], passwordFile: String?
    ) throws -> Self {
        let server = try settings.requiredString("server")
        do throws(DrillError) {
            return try parse(server, variables: variables, passwordFile: passwordFile)
        } catch {
            throw error.code == .usage ? settings.error("server", error.what, hints: error.hints) : error
        }
    }

    static func readPassword(_ file: String) throws(DrillError) -> Secret {
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: file)) } catch {
            throw DrillError(.couldNotLook, "the password file cannot be read", at: file, cause: error)
        }
        let line = data.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty, !line.contains(0) else {
            throw DrillError(.couldNotLook, "the password file has no password on its first line", at: file)
        }
        return Secret(String(decoding: line, as: UTF8.self))
    }

    /// All keywords with a value each: ours, else the one compiled into libpq, so that no variable can step in.
    func explicit() -> [(keyword: String, value: String)] {
        Self.forgetEnvironment
        var complete: [(keyword: String, value: String)] = []
        for option in Self.knownOptions {
            let value = values[option.keyword] ?? Self.ours[option.keyword] ?? option.compiled
            if let value, !value.isEmpty { complete.append((option.keyword, value)) }
        }
        if let password { complete.append(("password", password.reveal())) }
        return complete
    }

    /// Statements are UTF-8; a server that is gone without a word is noticed within a minute or so.
    private static let ours = [
        "application_name": "muster", "client_encoding": "UTF8", "keepalives": "1", "keepalives_idle": "30",
        "keepalives_interval": "10", "keepalives_count": "3",
    ]

    private struct KnownOption {
        var keyword: String
        var variable: String?
        var compiled: String?
    }

    private static var knownOptions: [KnownOption] {
        guard let options = PQconninfoParse("", nil) else { return [] }
        defer { PQconninfoFree(options) }
        var known: [KnownOption] = []
        var option = options
        while let keyword = option.pointee.keyword {
            known.append(
                KnownOption(
                    keyword: String(cString: keyword), variable: option.pointee.envvar.map { String(cString: $0) },
                    compiled: option.pointee.compiled.map { String(cString: $0) }))
            option += 1
        }
        return known
    }

    /// Takes the variables that libpq reads out of this process's environment, once. An empty value cannot stand against
    /// `PGHOSTADDR` or `PGSERVICE`, and either could lead a probe to production (V7).
    ///
    /// `unsetenv` moves pointers in place and frees nothing, so a `getenv` on another thread stays safe in memory.
    private static let forgetEnvironment: Void = {
        let others = ["PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR", "PGTZ", "PGDATESTYLE", "PGGEQO", "PGREALM"]
        for variable in knownOptions.compactMap(\.variable) + others { unsetenv(variable) }
    }()
}
