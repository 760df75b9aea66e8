import Testing

@testable import DrillPostgres

@Suite struct DumpRequirementsTests {
    private func requirements(_ sql: String) -> DumpRequirements {
        var found = DumpRequirements()
        found.add(statement: sqlTokens(sql.utf8))
        return found
    }

    @Test(arguments: [
        ("GRANT SELECT ON TABLE public.t TO reader;", ["reader"]),
        ("GRANT SELECT(a,b),INSERT ON TABLE public.t TO \"Big One\" WITH GRANT OPTION;", ["Big One"]),
        ("REVOKE ALL ON FUNCTION f(\"to\" integer) FROM PUBLIC;", []),
        ("GRANT USAGE ON SCHEMA s TO a, GROUP b;", ["a", "b"]),
        ("ALTER TABLE public.t OWNER TO app_owner;", ["app_owner"]),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA s GRANT SELECT ON TABLES TO taker;", ["maker", "taker"]),
        ("CREATE POLICY p ON public.t FOR SELECT TO tenant, PUBLIC USING (CAST(a AS text) = 'to nobody');", ["tenant"]),
        ("SET SESSION AUTHORIZATION 'grantor';", ["grantor"]), ("SET SESSION AUTHORIZATION DEFAULT;", []),
        ("RESET SESSION AUTHORIZATION;", []),
        ("CREATE USER MAPPING FOR mapped SERVER s OPTIONS (user 'x');", ["mapped"]),
        ("CREATE USER MAPPING FOR PUBLIC SERVER s;", []), ("CREATE TABLE t (owner text, \"to\" text);", []),
    ])
    func rolesThatAStatementNamesAreFound(_ sql: String, roles: [String]) {
        #expect(requirements(sql).roles == Set(roles))
    }

    @Test func predefinedRolesAreKeptApart() {
        let found = requirements("GRANT pg_read_all_data TO pg_monitor, app;")
        #expect(found.roles == ["app"])
        #expect(found.predefinedRoles == ["pg_monitor"])
    }

    @Test func extensionsTablespacesAndEncodingAreFound() {
        #expect(
            requirements("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;").extensions == ["uuid-ossp"]
        )
        #expect(requirements("SET default_tablespace = fast;").tablespaces == ["fast"])
        #expect(requirements("SET default_tablespace = '';").tablespaces.isEmpty)
        #expect(requirements("SET client_encoding = 'LATIN1';").encodingName == "LATIN1")
    }

    @Test(arguments: [
        (
            "CREATE DATABASE app WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'en_US.UTF-8';",
            ["app", "UTF8", "en_US.UTF-8", "en_US.UTF-8", "libc", ""]
        ),
        (
            "CREATE DATABASE \"A b\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' LC_COLLATE = 'C' LC_CTYPE = 'de_DE';",
            ["A b", "LATIN1", "C", "de_DE", "", ""]
        ),
        (
            "CREATE DATABASE x WITH ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'und';",
            ["x", "UTF8", "C", "C", "icu", "und"]
        ),
    ])
    func traitsOfTheDatabaseAreReadFromItsStatement(_ sql: String, expected: [String]) {
        let traits = requirements(sql).database
        #expect(
            [
                traits?.name, traits?.encoding, traits?.collate, traits?.characterType, traits?.provider,
                traits?.providerLocale,
            ].map { $0 ?? "" } == expected)
    }
}
