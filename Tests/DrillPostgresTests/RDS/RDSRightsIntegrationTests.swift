import DrillCore
import DrillTestKit
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct RDSRightsIntegrationTests {
    @Test func onlyWhoMayMakeModulesAndSetsNothingOffHasRights() async throws {
        try await TestServer.withDatabase { parameters in
            let connection = try await PostgresConnection.connect(parameters)
            let suffix = parameters["dbname"] ?? ""
            func rights(_ user: String) async throws -> ScratchRights? {
                var own = parameters
                own["user"] = user
                return try await RDSRights.read(own)
            }
            func ran(_ statements: String...) async throws {
                for statement in statements { try await connection.execute(statement) }
            }
            try await ran(
                "CREATE ROLE rds_superuser", "CREATE ROLE member_\(suffix) LOGIN", "CREATE ROLE other_\(suffix) LOGIN",
                "GRANT rds_superuser TO member_\(suffix)")
            let found = try await (rights("member_\(suffix)"), rights("other_\(suffix)"), rights("postgres"))
            try await ran(
                "CREATE FUNCTION fire() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
                "CREATE EVENT TRIGGER fire ON ddl_command_end EXECUTE FUNCTION fire()")
            let fired = try await rights("postgres")
            try await ran("ALTER EVENT TRIGGER fire DISABLE")
            let disabled = try await rights("postgres")
            try await ran("DROP ROLE rds_superuser, member_\(suffix), other_\(suffix)")
            await connection.close()
            #expect(found.0?.modules == [.prewarm])
            #expect(found.0?.owner["user"] == "member_\(suffix)")
            #expect(found.0?.coversServer == false)
            #expect(found.1 == nil)
            #expect(found.2 != nil)
            #expect(fired == nil)
            #expect(disabled != nil)
        }
    }
}
