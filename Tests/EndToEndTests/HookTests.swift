import DrillTestKit
import Foundation
import Testing

/// `backup.hooks`: commands that make a set's volume appear and disappear. Here a volume is a folder that is copied into place.
@Suite(.needs(.postgres))
struct HookTests {
    private static let probe =
        "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads }\n"

    /// Two volumes, the newer one whole; nothing is mounted yet.
    private func workshop(
        hooks: String =
            "{ list: [./hook.sh, list], mount: [./hook.sh, mount, \"{set}\", \"{run}\"], unmount: [./hook.sh, unmount, \"{set}\"] }",
        probes: String = HookTests.probe, keys: [String] = ["a"]
    ) throws -> Workshop {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: keys)
        try FileManager.default.moveItem(atPath: shop.root + "/sets", toPath: shop.root + "/volumes")
        try shop.write(
            """
            #!/bin/sh
            cd "$(dirname "$0")" || exit 1
            echo "$1 $2 $3 set=$MUSTER_BACKUP_SET run=${MUSTER_RUN_ID:+yes}" >>hooks.log
            case $1 in
                list) ls volumes ;;
                mount) test ! -e broken || exit 7; mkdir -p sets && cp -a "volumes/$2" sets/ ;;
                unmount) test ! -e stuck || { echo busy >&2; exit 5; }; rm -rf "sets/$2" ;;
            esac
            """, to: "hook.sh")
        chmod(shop.root + "/hook.sh", 0o755)
        try shop.write(
            """
            drill: e2e
            backup:
              sets: sets
              named: "%Y-%m-%d"
              hooks: \(hooks)
              database: { kind: pg_dump, path: db_dump.sqlc }
              objects: [ { bucket: uploads, kind: directory, path: s3_files } ]
            scratch: { directory: scratch }
            probes:
            \(probes)
            """, to: "drill.yaml")
        return shop
    }

    private func called(_ shop: Workshop) throws -> [String] {
        guard shop.exists("hooks.log") else { return [] }
        return String(decoding: try shop.read("hooks.log"), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func aVolumeIsThereForItsSetAloneAndPlanMountsNothing() throws {
        let shop = try workshop()
        let plan = try shop.muster(["plan", "drill.yaml"])
        #expect(plan.status == 0, "\(plan.errors)")
        #expect(
            plan.output.contains("would mount the volume of the set: ./hook.sh mount 2026-01-02 '<run id>'"),
            "\(plan.output)")
        #expect(try called(shop).allSatisfy { $0.hasPrefix("list") })
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        let calls = try called(shop).filter { !$0.hasPrefix("list") }
        #expect(calls.count == 2)
        #expect(calls.first?.hasPrefix("mount 2026-01-02 2") == true)
        #expect(calls.first?.hasSuffix("set=2026-01-02 run=yes") == true)
        #expect(calls.last == "unmount 2026-01-02  set=2026-01-02 run=yes")
        #expect(!shop.exists("sets/2026-01-02"))
        let phases = try shop.ledger("SELECT name FROM phase ORDER BY ordinal")
        #expect(phases.contains("mount 2026-01-02") && phases.contains("unmount 2026-01-02"))
    }

    @Test func aBadSetIsUnmountedToo() throws {
        let shop = try workshop(keys: [])
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(!shop.exists("sets/2026-01-02"))
    }

    @Test func aVolumeThatCannotBeMountedIsInconclusiveAndUnmounted() throws {
        let shop = try workshop()
        try shop.write("", to: "broken")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("the mount command exited with status 7"), "\(ran.errors)")
        #expect(try called(shop).last?.hasPrefix("unmount") == true)
    }

    @Test func aVolumeThatStaysMountedIsScratchLeftBehindUntilGC() throws {
        let shop = try workshop()
        try shop.write("", to: "stuck")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 4, "\(ran.errors)")
        #expect(ran.errors.contains("could not be unmounted"), "\(ran.errors)")
        #expect(ran.errors.contains("busy"), "\(ran.errors)")
        #expect(try shop.muster(["gc", "--directory", "scratch"]).status == 4)
        try shop.remove("stuck")
        let swept = try shop.muster(["gc", "--directory", "scratch"])
        #expect(swept.status == 0, "\(swept.errors)")
        #expect(!shop.exists("sets/2026-01-02"))
        #expect(try shop.muster(["gc", "--directory", "scratch"]).errors.contains("nothing is left behind"))
    }

    private static let slow =
        "  - { name: slow, kind: sql, query: \"select pg_catalog.pg_sleep(60)::text\", expect: rows }\n"

    @Test(
        "P29: a signal unmounts, and what a killed run left mounted is unmounted by gc", arguments: [SIGTERM, SIGKILL])
    func signals(number: Int32) throws {
        let shop = try workshop(probes: Self.slow)
        let process = try shop.launch(["run", "drill.yaml"])
        try shop.wait {
            shop.exists("reports/ledger.sqlite")
                && (try? shop.ledger("SELECT count(*) FROM phase WHERE name LIKE 'restore%'")) == ["1"]
        }
        #expect(shop.exists("sets/2026-01-02"))
        kill(process.processIdentifier, number)
        process.waitUntilExit()
        if number == SIGKILL {
            #expect(shop.exists("sets/2026-01-02"))
            let swept = try shop.muster(["gc", "--directory", "scratch"])
            #expect(swept.status == 0, "\(swept.errors)")
        } else {
            #expect(process.terminationStatus == 128 + number)
        }
        #expect(!shop.exists("sets/2026-01-02"))
        #expect(try shop.leftInScratch.isEmpty)
    }

    @Test func aHookThatHangsIsEndedInTime() throws {
        let shop = try workshop(
            hooks:
                "{ list: [./hook.sh, list], mount: [sleep, \"600\"], unmount: [./hook.sh, unmount, \"{set}\"], timeout: 1s }"
        )
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("the mount command did not end in time"), "\(ran.errors)")
    }
}
