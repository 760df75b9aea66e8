import DrillCore
import Foundation

extension PostgresParameters {
    /// As one argument for PostgreSQL's own tools: `host='…' port='…'`. Never a password.
    var conninfo: String {
        values.sorted { $0.key < $1.key }.map { keyword, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
            return "\(keyword)='\(escaped)'"
        }.joined(separator: " ")
    }

    /// What programs of the user's own need to connect, without a password.
    var commandVariables: [String: String] {
        var variables = ["PGPORT": self["port"] ?? "5432"]
        for (keyword, variable) in [
            ("host", "PGHOST"), ("user", "PGUSER"), ("dbname", "PGDATABASE"), ("passfile", "PGPASSFILE"),
        ] {
            if let value = self[keyword] { variables[variable] = value }
        }
        // A socket's directory fits into no host part, but into the query of any address.
        var address = URLComponents()
        address.queryItems = ["host", "port", "user"].compactMap { keyword in
            self[keyword].map { URLQueryItem(name: keyword, value: $0) }
        }
        let name = self["dbname"]?.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        variables["DATABASE_URL"] = "postgresql:///\(name)?\(address.percentEncodedQuery ?? "")"
        return variables
    }

    /// With the password, where there is one, in a password file below `folder` in place of memory, for tools (X1).
    func withPasswordFile(in folder: String) throws -> PostgresParameters {
        guard let password else { return self }
        func escaped(_ text: String) -> String {
            text.replacing("\\", with: "\\\\").replacing(":", with: "\\:")
        }
        let path = folder + "/pgpass"
        let secret = password.reveal()
        guard !secret.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D || $0 == 0 }) else {
            throw DrillError(.usage, "the password holds a line break", at: place)
        }
        if !FileManager.default.fileExists(atPath: path) { try writeOwnFile(path, "*:*:*:*:\(escaped(secret))\n") }
        var parameters = values
        parameters["passfile"] = path
        return PostgresParameters(parameters)
    }
}
