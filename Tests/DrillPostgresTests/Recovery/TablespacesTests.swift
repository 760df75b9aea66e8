import DrillCore
import Foundation
import Testing

@testable import DrillPostgres

/// P20: a link in a backup is believed only where it leads to a tablespace inside the backup, or to one that the drill file names.
@Suite struct TablespacesTests {
    private func withBackup(_ body: (_ root: String, _ data: String) async throws -> Void) async throws {
        try await RestoreFixture.with { fixture async throws in
            let files = FileManager.default
            for folder in ["bases/one/pg_tblspc", "bases/spc/PG_15_202209061", "outside/PG_15_202209061", "empty"] {
                try files.createDirectory(
                    atPath: "\(fixture.folder)/\(folder)", withIntermediateDirectories: true)
            }
            try await body(fixture.folder, fixture.folder + "/bases/one")
        }
    }

    private func sources(
        _ links: [(path: String, target: String)], _ root: String, _ data: String, declared: [String: String] = [:]
    ) -> Result<[Tablespaces.Source], DrillError> {
        do {
            return .success(
                try Tablespaces(declared: declared, root: root + "/bases").sources(links, of: data))
        } catch { return .failure(DrillError(wrapping: error)) }
    }

    @Test func aLinkInsideTheBackupIsFollowed() async throws {
        try await withBackup { root, data async throws in
            for target in ["\(root)/bases/spc", "../../spc"] {
                let found = try sources([("pg_tblspc/16400", target)], root, data).get()
                #expect(found.map(\.number) == ["16400"])
                #expect(found.first.map { $0.directory.hasSuffix("/bases/spc") } == true)
            }
        }
    }

    @Test func aDeclaredPlaceIsTakenByNumberOrByItsPlaceOnTheServer() async throws {
        try await withBackup { root, data async throws in
            for name in ["16400", "/srv/spc"] {
                let found = try sources(
                    [("pg_tblspc/16400", "/srv/spc")], root, data, declared: [name: root + "/outside"]
                ).get()
                #expect(found == [Tablespaces.Source(number: "16400", directory: root + "/outside")])
            }
        }
    }

    @Test(
        "everything else is refused",
        arguments: [
            ("pg_tblspc/16400", "/etc"), ("pg_tblspc/16400", "../../../outside"),
            ("pg_tblspc/16400", "../../../../../etc"),
            ("base/1", "/etc"), ("pg_tblspc/x", "spc"), ("pg_tblspc/16400/deep", "spc"), ("global", "../spc"),
            ("pg_tblspc/16400", "../../one"), ("pg_tblspc/16400", "../../nothing"),
        ])
    func otherLinksAreRefused(path: String, target: String) async throws {
        try await withBackup { root, data async throws in
            switch sources([(path, target)], root, data) {
            case .success(let found): Issue.record("\(path) -> \(target) was believed: \(found)")
            case .failure(let error): #expect(error.code == .backupUnusable)
            }
        }
    }

    @Test func aDeclaredPlaceThatIsNoTablespaceIsRefused() async throws {
        try await withBackup { root, data async throws in
            let declared = ["16400": root + "/empty"]
            #expect(throws: DrillError.self) {
                try sources([("pg_tblspc/16400", "/srv/spc")], root, data, declared: declared).get()
            }
        }
    }
}
