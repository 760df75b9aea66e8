import DrillTestKit
import Foundation
import Testing

/// Drills whose objects are brought into scratch as files, from the real gateway.
@Suite("Objects in scratch, from the command line", .needs(.postgres), .needs(.s3))
struct ObjectCopyTests {
    private let service: S3Service

    init() throws { service = try S3Service.gateway() }

    /// Reads the manifest and every file that it names, as a program of the user's would.
    private static let script = """
        #!/usr/bin/env python3
        import base64, hashlib, json, os, stat, sys
        place = os.environ["MUSTER_OBJECTS"]
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o700, "mode"
        seen = {}
        for line in open(os.path.join(place, "manifest.jsonl"), "rb"):
            entry = json.loads(line)
            key = base64.b64decode(entry["key_base64"])
            if entry["state"] != "present":
                continue
            content = open(os.path.join(place, entry["file"]), "rb").read()
            assert len(content) == entry["size"], "size"
            assert hashlib.sha256(content).hexdigest() == entry["sha256"], "sha256"
            assert entry["file"].endswith(hashlib.sha256(key).hexdigest()), "name"
            seen[key.decode()] = content.decode()
        wanted = json.load(open(os.environ["WANTED"]))
        sys.exit(0 if seen == wanted else f"{seen} is not {wanted}")
        """

    private func smoke(_ shop: Workshop, _ wanted: [String: String]) throws -> String {
        try shop.write(Self.script, to: "smoke.py")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: shop.root + "/smoke.py")
        try shop.write(try JSONSerialization.data(withJSONObject: wanted), to: "wanted.json")
        return
            "  - { name: boots, kind: command, run: [./smoke.py], environment: { WANTED: \"\(shop.root)/wanted.json\" } }\n"
    }

    @Test("Copies of a bucket are judged and given to a program; nothing of them stays, the bucket is as it was")
    func directory() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket), .put(bucket, "a", "one"), .put(bucket, "b/../c", "two")], on: service)
        let before = try shop.listing(of: bucket, on: service)
        let probes = Workshop.files + (try smoke(shop, ["a": "one", "b/../c": "two"]))
        let objects = "{ bucket: uploads, kind: s3, url: \"s3://\(bucket)\" }"
        try shop.dumpDrill(
            try shop.filesDatabase(["a", "b/../c"]), objects: objects, probes: probes,
            scratch: ", objects: { kind: directory }")
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(ran.errors.contains("2 objects, 6 bytes"), "\(ran.errors)")
        #expect(try shop.leftInScratch.isEmpty)
        #expect(try shop.listing(of: bucket, on: service) == before)
        let traffic = try shop.ledger("SELECT detail FROM phase WHERE name = 'object traffic'")
        #expect(traffic.first?.contains("2 GET") == true, "\(traffic)")

        // What is not there is still missing, and only rows decide.
        try shop.bucketDrill(
            try shop.filesDatabase(["a", "gone"]), objects: objects,
            scratch: ", objects: { kind: directory }, keep: always")
        let missing = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(missing.status == 1, "\(missing.errors)")
        #expect(try shop.findings() == ["missing|unknown|gone"])
        let kept = try #require(try shop.leftInScratch.first)
        #expect(shop.exists("scratch/\(kept)/objects/manifest.jsonl"))
    }

    @Test("A versioned bucket is copied as of the dump's instant") func versions() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play(
            [.bucket(bucket), .versioning(bucket, "Enabled"), .put(bucket, "a", "then"), .put(bucket, "b", "kept")],
            on: service)
        let database = try shop.filesDatabase(["a", "b"])
        let objects = "{ bucket: uploads, kind: s3_versions, url: \"s3://\(bucket)\", skew_tolerance: 1s }"
        let probes = Workshop.files + (try smoke(shop, ["a": "then", "b": "kept"]))
        // Outside of the tolerance of a second, and of the whole seconds of a dump's own time.
        let written = Date()
        try shop.wait { Date() > written + 2.2 }
        try shop.dumpDrill(database, objects: objects, probes: probes, scratch: ", objects: { kind: directory }")
        let dumped = Date()
        try shop.wait { Date() > dumped + 1.2 }
        try shop.play([.put(bucket, "a", "now"), .delete(bucket, "b")], on: service)
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try shop.leftInScratch.isEmpty)
    }

    @Test(
        "S35: at a limit the run is inconclusive, with counts, for copies and for views",
        arguments: [", objects: { kind: directory }", ""])
    func limits(scratch: String) throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        let keys = (0..<30).map { "k\($0)" }
        try shop.play(
            [.bucket(bucket)] + keys.map { .put(bucket, $0, String(repeating: "x", count: 1000)) }, on: service)
        let database = try shop.filesDatabase(keys)
        let objects = "{ bucket: uploads, kind: s3, url: \"s3://\(bucket)\" }"
        let read =
            "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, content: all }\n"
        for (limit, word) in [("requests: 10", "limits.requests"), ("bytes: 20KB", "limits.bytes")] {
            try shop.bucketDrill(
                database, objects: objects, probes: read, top: "limits: { \(limit) }", scratch: scratch)
            let ran = try shop.muster(["run", "drill.yaml"], on: service)
            #expect(ran.status == 2, "\(limit): \(ran.errors)")
            #expect(ran.errors.contains(word), "\(ran.errors)")
            #expect(ran.errors.contains("LIST"), "\(ran.errors)")
            #expect(try shop.leftInScratch.isEmpty)
        }
        try shop.bucketDrill(
            database, objects: objects, probes: read, top: "limits: { requests: 500, bytes: 1MB }", scratch: scratch)
        #expect(try shop.muster(["run", "drill.yaml"], on: service).status == 0)
    }

    @Test("Bad input is refused with its line before anything is made") func usage() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(["a"])
        let objects = "{ bucket: uploads, kind: s3, url: \"s3://somewhere\" }"
        for (top, scratch, word) in [
            ("limits: { requests: 0 }", "", "requests"), ("limits: { bytes: 0 }", "", "more than nothing"),
            ("limits: { bites: 1 }", "", "Did you mean `bytes`?"), ("limits: { bytes: lots }", "", "a size such as"),
            ("", ", objects: { kind: folder }", "Known here"),
            ("", ", objects: { kind: directory, concurrency: 0 }", "concurrency"),
        ] {
            try shop.bucketDrill(database, objects: objects, top: top, scratch: scratch)
            let ran = try shop.muster(["run", "drill.yaml"], on: service)
            #expect(ran.status == 64, "\(top)\(scratch): \(ran.errors)")
            #expect(ran.errors.contains(word) && ran.errors.contains("drill.yaml:"), "\(ran.errors)")
            #expect(!shop.exists("reports"))
        }
    }
}
