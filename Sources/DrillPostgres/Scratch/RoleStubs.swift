import DrillCore
import Foundation

/// The roles that a dump names and a server lacks, made without login and without password: a dump carries none (P3).
struct RoleStubs: Sendable {
    var host: RestoreHost
    var runID: String

    /// What was made, and what a report must say.
    struct Made: Sendable {
        var roles: [String] = []
        var notes: [String] = []
        /// Whether each role that owners and grants name is there now.
        var isComplete = true
    }

    static func marker(ofRun runID: String) -> String { "made by muster run \(runID)" }

    /// - Parameter willMake: Told of each role before it is made.
    func make(
        for needs: DumpRequirements, globals: Globals,
        willMake: @escaping @Sendable (String) async throws -> Void
    ) async throws -> Made {
        try await host.withSession { connection in
            let found = try await connection.query("SELECT rolname::text FROM pg_catalog.pg_roles").rows.compactMap {
                $0[0]
            }
            let missing = needs.roles.union(globals.roles).subtracting(found).sorted()
            var made = Made()
            let unknown = needs.predefinedRoles.subtracting(found).sorted()
            if !unknown.isEmpty {
                throw DrillError(
                    .couldNotLook,
                    "the dump names roles of a newer PostgreSQL than \(host.major): \(unknown.joined(separator: ", "))",
                    at: host.administration.place, hints: ["Install that version, or name its programs with `bin:`."])
            }
            guard !missing.isEmpty else { return made }
            guard host.mayCreateRoles else { return try withoutRoles(missing, needs) }
            for role in missing {
                try await willMake(role)
                // PostgreSQL wants the owner of an event trigger or a foreign-data wrapper to be a superuser.
                let rights = host.isSuperuser && needs.superusers.contains(role) ? " SUPERUSER" : ""
                // One message is one transaction: no role is there without its comment.
                try await connection.execute(
                    "CREATE ROLE \(quotedIdentifier(role)) NOLOGIN\(rights); "
                        + "COMMENT ON ROLE \(quotedIdentifier(role)) IS \(quotedLiteral(Self.marker(ofRun: runID)))")
                made.roles.append(role)
            }
            for membership in globals.memberships
            where made.roles.contains(membership.member) && made.roles.contains(membership.role) {
                try await connection.execute(
                    "GRANT \(quotedIdentifier(membership.role)) TO \(quotedIdentifier(membership.member))")
            }
            let names =
                missing.prefix(20).joined(separator: ", ")
                + (missing.count > 20 ? " and \(missing.count - 20) more" : "")
            made.notes.append("Roles that the dump names were made without login and password: \(names).")
            return made
        }
    }

    private func withoutRoles(_ missing: [String], _ needs: DumpRequirements) throws -> Made {
        let indispensable = needs.policyRoles.intersection(missing).sorted()
        guard indispensable.isEmpty else {
            throw DrillError(
                .couldNotLook,
                "policies in the dump name roles that are missing, and `\(host.administration["user"] ?? "")` may not make roles: "
                    + indispensable.joined(separator: ", "), at: host.administration.place,
                hints: ["Give it CREATEROLE, make the roles by hand, or use `scratch.database: { kind: cluster }`."])
        }
        var made = Made()
        made.isComplete = false
        made.notes.append(
            "Owners and grants of the dump were not restored: roles are missing on the server (\(missing.prefix(20).joined(separator: ", "))) "
                + "and may not be made there.")
        return made
    }
}

/// What is taken from the output of `pg_dumpall --globals-only`: names of roles and who is a member of which. Passwords, logins
/// and settings stay behind.
struct Globals: Sendable, Equatable {
    var roles: Set<String> = []
    var memberships: [Membership] = []

    struct Membership: Sendable, Equatable {
        var role: String
        var member: String
    }

    init() {}

    init(contentsOf path: String) async throws {
        let file = try LocalFile(path)
        var script = PlainScript(keepsData: false)
        var isOver = false
        while !isOver {
            let bytes = try await file.next()
            isOver = bytes.isEmpty
            do {
                for piece in isOver ? try script.finish() : try script.feed(bytes) { add(piece) }
            } catch {
                throw DrillError(
                    .backupUnusable, "the globals cannot be read: \(error.what)", at: "\(path):\(error.line)")
            }
        }
    }

    mutating func add(_ piece: PlainScript.Piece) {
        guard case .statement(let bytes, _) = piece else { return }
        let tokens = sqlTokens(bytes, limit: 8)
        if tokens.count > 3, tokens[0].isWord("create"), tokens[1].isWord("role"), let role = tokens[2].identifier {
            roles.insert(role)
        } else if tokens.count > 4, tokens[0].isWord("grant"), tokens[2].isWord("to"), let role = tokens[1].identifier,
            let member = tokens[3].identifier
        {
            memberships.append(Membership(role: role, member: member))
        }
    }
}
