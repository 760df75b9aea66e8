import DrillTestKit
import Foundation
import Testing

/// Drills whose objects are copied into a versioned scratch bucket of the real gateway.
@Suite("Objects in a scratch bucket, from the command line", .needs(.postgres), .needs(.s3))
struct ScratchBucketTests {
    private let service: S3Service
    private let source = Workshop.bucketName()
    private let scratch = Workshop.bucketName()

    init() throws { service = try S3Service.gateway() }

    /// A bucket with two objects, a versioned one to copy to, and a drill that runs `script` last.
    private func prepare(_ shop: Workshop, script: String = "exit 0", top: String = "", keep: String = "never") throws {
        try shop.play(
            [
                .bucket(source), .put(source, "a", "one"), .put(source, "b/../c d\u{1}", "two"), .bucket(scratch),
                .versioning(scratch, "Enabled"), .put(scratch, "elsewhere", "stays"),
            ], on: service)
        let database = try shop.filesDatabase(["a"])
        try shop.write("#!/bin/sh\n\(script)\n", to: "probe.sh")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: shop.root + "/probe.sh")
        let probes =
            "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, content: all }\n"
            + "  - { name: boots, kind: command, run: [./probe.sh], environment: { HERE: \"\(shop.root)\" } }\n"
        try shop.dumpDrill(
            database, objects: "{ bucket: uploads, kind: s3, url: \"s3://\(source)\" }", probes: probes,
            scratch: ", keep: \(keep), objects: { kind: s3, url: \"s3://\(scratch)/drills\" }", top: top)
    }

    private func elsewhere(_ shop: Workshop) throws -> [String] {
        try shop.listing(of: scratch, on: service).map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
    }

    private var stays: [String] { ["version " + hexadecimal("elsewhere")] }

    @Test("A program finds each object under its own key; all goes again, and the source bucket is as it was")
    func copied() throws {
        let shop = try Workshop()
        try prepare(
            shop,
            script:
                "env > $HERE/environment; echo $MUSTER_OBJECTS > $HERE/place; : > $HERE/running; while [ -e $HERE/running ]; do sleep 0.05; done"
        )
        let before = try shop.listing(of: source, on: service)
        let process = try shop.launch(["run", "drill.yaml"], variables: service.variables(home: shop.root))
        try shop.wait { shop.exists("running") || !process.isRunning }
        let place = String(decoding: try shop.read("place"), as: UTF8.self).trimmingCharacters(
            in: .whitespacesAndNewlines)
        #expect(place.hasPrefix("s3://\(scratch)/drills/muster-"))
        let below = String(place.dropFirst("s3://\(scratch)/".count))
        let copies = try shop.listing(of: scratch, prefix: below + "/uploads/", on: service)
        #expect(
            Set(copies.map { $0.split(separator: " ")[1] })
                == Set(["a", "b/../c d\u{1}"].map { Substring(hexadecimal("\(below)/uploads/\($0)")) }))
        let environment = String(decoding: try shop.read("environment"), as: UTF8.self)
        #expect(environment.contains("MUSTER_OBJECTS_ENDPOINT=\(service.endpoint)"))
        #expect(environment.contains("AWS_ENDPOINT_URL_S3=\(service.endpoint)"))
        #expect(!environment.contains(service.secretKey))
        try shop.remove("running")
        process.waitUntilExit()
        let errors = String(decoding: try shop.read("launched.err"), as: UTF8.self)
        #expect(process.terminationStatus == 0, "\(errors)")
        #expect(try elsewhere(shop) == stays)
        #expect(try shop.listing(of: source, on: service) == before)
        #expect(try shop.leftInScratch.isEmpty)
        let traffic = try shop.ledger("SELECT detail FROM phase WHERE name = 'object traffic'")
        #expect(traffic.first?.contains("4 PUT or COPY") == true, "\(traffic)")
        let plan = try shop.muster(["plan", "drill.yaml"], on: service)
        #expect(plan.status == 0, "\(plan.errors)")
        for words in ["2 PUT or COPY", "in all:", "$0.", "us-east-1", "last run", "at most"] {
            #expect(plan.output.contains(words), "\(words): \(plan.output)")
        }
        #expect(try elsewhere(shop) == stays)
    }

    @Test("P29: after kill -9, gc leaves no version, marker or upload of the run, and everything else") func killed()
        throws
    {
        let shop = try Workshop()
        try prepare(shop, script: ": > $HERE/running; while [ -e $HERE/running ]; do sleep 0.05; done")
        let before = try shop.listing(of: source, on: service)
        let variables = service.variables(home: shop.root)
        let process = try shop.launch(["run", "drill.yaml"], variables: variables)
        try shop.wait { shop.exists("running") || !process.isRunning }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try shop.remove("running")
        let run = try #require(try shop.ledger("SELECT run_id FROM run").first)
        let prefix = "drills/muster-\(run)/"
        try shop.play(
            [
                .put(scratch, prefix + "uploads/a", "again"), .delete(scratch, prefix + "uploads/a"),
                S3Step(words: ["do": "start_upload", "bucket": scratch, "key": hexadecimal(prefix + "uploads/big")]),
                .put(scratch, "drills/muster-somebody", "stays too"),
            ], on: service)
        let left = try shop.listing(of: scratch, prefix: prefix, on: service)
        #expect(left.contains { $0.hasPrefix("marker") } && left.contains { $0.hasPrefix("upload") }, "\(left)")
        let swept = try shop.muster(["gc", "--directory", "scratch"], on: service)
        #expect(swept.status == 0, "\(swept.errors)")
        #expect(swept.errors.contains("removed s3_prefix s3://\(scratch)/\(prefix)"), "\(swept.errors)")
        #expect(try elsewhere(shop) == ["version " + hexadecimal("drills/muster-somebody")] + stays)
        #expect(try shop.listing(of: source, on: service) == before)
        #expect(try shop.leftInScratch.isEmpty)
        #expect(
            try shop.muster(["gc", "--directory", "scratch"], on: service).errors.contains("nothing is left behind"))
    }

    @Test("Ended by Ctrl-C or by its deadline, a run removes its copies", arguments: [true, false]) func ended(
        bySignal: Bool
    ) throws {
        let shop = try Workshop()
        try prepare(
            shop, script: ": > $HERE/running; while [ -e $HERE/running ]; do sleep 0.05; done",
            top: bySignal ? "" : "deadline: 4s")
        let process = try shop.launch(["run", "drill.yaml"], variables: service.variables(home: shop.root))
        try shop.wait { shop.exists("running") || !process.isRunning }
        if bySignal { process.interrupt() }
        process.waitUntilExit()
        #expect(process.terminationStatus == (bySignal ? 130 : 2))
        #expect(try elsewhere(shop) == stays)
        #expect(try shop.leftInScratch.isEmpty)
        #expect(try shop.ledger("SELECT verdict FROM run") == ["inconclusive"])
    }

    @Test("scratch.keep holds for copies too, and the report says where they are") func kept() throws {
        let shop = try Workshop()
        try prepare(shop, keep: "always")
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(ran.errors.contains("were kept at s3://\(scratch)/drills/muster-"), "\(ran.errors)")
        #expect(try shop.listing(of: scratch, prefix: "drills/", on: service).count == 4)
        #expect(
            try shop.muster(["gc", "--directory", "scratch"], on: service).errors.contains("nothing is left behind"))
        #expect(try shop.listing(of: scratch, prefix: "drills/", on: service).count == 4)
        let run = try #require(try shop.ledger("SELECT run_id FROM run").first)
        try shop.psql("DROP DATABASE muster_\(run.lowercased().replacing("-", with: "_"))", in: "postgres")
    }

    @Test("P28: scratch in a source is refused with its line, before anything is made") func refused() throws {
        let shop = try Workshop()
        try prepare(shop)
        let text = String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
        for url in ["s3://\(source)", "s3://\(source)/below"] {
            try shop.write(text.replacing("s3://\(scratch)/drills", with: url), to: "drill.yaml")
            let ran = try shop.muster(["run", "drill.yaml"], on: service)
            #expect(ran.status == 64, "\(ran.errors)")
            #expect(ran.errors.contains("drill.yaml:") && ran.errors.contains("only read"), "\(ran.errors)")
        }
        #expect(!shop.exists("reports"))
        #expect(try shop.listing(of: source, on: service).count == 2)
    }
}
