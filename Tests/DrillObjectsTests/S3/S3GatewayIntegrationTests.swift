import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

/// Against the real gateway: what it accepts and lists is the second opinion on our own signing and reading.
@Suite(.needs(.s3)) struct S3GatewayIntegrationTests {
    private let variables = ProcessInfo.processInfo.environment

    private struct Gateway {
        var fixture: S3Fixture
        var client: S3Client
        var bucket: String
        var transport: any HTTPTransport
        var address: S3Address
        var credentials: CredentialChain

        /// Signs and sends what our own reader never does: a write.
        @discardableResult
        func write(
            _ method: HTTPRequest.Method, _ key: [UInt8]?, query: [(name: String, value: [UInt8]?)] = [],
            body: [UInt8] = []
        ) async throws -> HTTPResponse {
            var request = HTTPRequest(method, address.origin, address.target(key: key, query: query))
            request.body = body
            RequestSigner().sign(
                &request, credentials: try await credentials.current(), region: address.region,
                seconds: Int64(Date().timeIntervalSince1970))
            let response = try await transport.send(request)
            #expect(
                (200...204).contains(response.status),
                "\(method.rawValue) \(key.map { printable($0) } ?? "bucket"): \(response.status)")
            return response
        }
    }

    private func gateway() async throws -> Gateway {
        let endpoint = try #require(Service.s3.location)
        let fixture = try S3Fixture(
            endpoint: endpoint,
            variables: [
                "AWS_ACCESS_KEY_ID": variables["MUSTER_TEST_S3_ACCESS_KEY"] ?? "",
                "AWS_SECRET_ACCESS_KEY": variables["MUSTER_TEST_S3_SECRET_KEY"] ?? "",
                "AWS_REGION": variables["MUSTER_TEST_S3_REGION"] ?? "us-east-1", "HOME": "/nonexistent",
            ])
        let bucket = "muster-\(UUID().uuidString.lowercased())"
        let address = S3Address(
            bucket: bucket, endpoint: S3Address.origin(endpoint),
            region: variables["MUSTER_TEST_S3_REGION"] ?? "us-east-1", pathStyle: true)
        let chain = CredentialChain(environment: fixture.environment, profile: nil, region: address.region)
        let client = S3Client(
            address, transport: fixture.environment.http, clock: fixture.environment.clock, credentials: chain)
        let gateway = Gateway(
            fixture: fixture, client: client, bucket: bucket, transport: fixture.environment.http, address: address,
            credentials: chain)
        try await gateway.write(.put, nil)
        return gateway
    }

    private func removeAll(_ gateway: Gateway) async throws {
        let source = ListingSource(gateway.client, .versions, prefix: [], place: gateway.bucket)
        while true {
            let page = try await source.page(ListingCursor())
            for index in 0..<page.entries.count {
                try await gateway.write(
                    .delete, Array(page.entries.keys[index]),
                    query: [("versionId", Array(page.entries.versions[index]))])
            }
            if page.next == nil { break }
        }
        try await gateway.write(.delete, nil)
    }

    @Test("S5, S10, S11: hostile keys are signed, written, listed and asked for, byte for byte")
    func hostileKeys() async throws {
        let gateway = try await gateway()
        let store = try await gateway.fixture.store(gateway.bucket)
        var random = RepeatableRandom(seed: 3)
        var keys = ObjectStoreCheck.hostileKeys
        for _ in 0..<150 { keys.append(ObjectKey(random.hostileKey())) }
        // A gateway may take less than a store can hold: what it took is what must be found.
        var written: Set<ObjectKey> = []
        for key in keys where store.cannotHold(key) == nil && !written.contains(key) {
            try await gateway.write(.put, key.bytes, body: Array("x".utf8))
            written.insert(key)
        }
        #expect(written.count > 60)
        #expect(Set(try await inventory(store).keys) == written)
        for key in written {
            guard case .present = try await store.presence(of: key) else {
                Issue.record("\(key) is listed, but not present when asked for")
                continue
            }
        }
        guard case .absent = try await store.presence(of: ObjectKey("nobody/has/this")) else {
            Issue.record("absence is not told"); return
        }
        try await removeAll(gateway)
    }

    @Test("S9, S14, S17: versions, markers and null versions, over several pages")
    func versions() async throws {
        let gateway = try await gateway()
        try await gateway.write(.put, Array("null".utf8), body: Array("before versioning".utf8))
        let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        try await gateway.write(.put, nil, query: [("versioning", nil)], body: Array(enable.utf8))
        for round in 0..<3 {
            for index in 0..<400 {
                try await gateway.write(.put, Array("k\(index)".utf8), body: [UInt8](repeating: 1, count: round))
            }
        }
        try await gateway.write(.delete, Array("k7".utf8))
        let now = try #require(gateway.fixture.environment.clock.now() as Date?)
        let store = try await gateway.fixture.versions(gateway.bucket, at: now, ["skew_tolerance": "0s"])
        let entries = try await inventory(store)
        #expect(entries.count == 401)
        #expect(entries[ObjectKey("k7")]?.state == .deleted)
        #expect(entries[ObjectKey("k8")]?.reading.sizeBytes == 2)
        #expect(entries[ObjectKey("null")]?.reading.version == VersionID("null"))
        try await removeAll(gateway)
    }
}
