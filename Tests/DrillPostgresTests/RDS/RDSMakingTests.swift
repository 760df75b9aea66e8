import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillPostgres

/// Answers by a script: the first answers for an action, then its last one for ever. A call that it does not foresee is refused.
private final class ScriptedAPI: CloudAPI {
    let place = "a scripted RDS"
    let region = "us-east-1"
    private let answers: Mutex<[String: [Result<CloudElement, CloudRefusal>]]>
    private let called = Mutex<[String]>([])

    init(_ answers: [String: [Result<CloudElement, CloudRefusal>]]) { self.answers = Mutex(answers) }

    var calls: [String] { called.withLock { $0 } }

    func call(_ action: String, _ parameters: [(name: String, value: String)]) async throws -> CloudElement {
        called.withLock { $0.append(action) }
        let answer = answers.withLock { answers -> Result<CloudElement, CloudRefusal>? in
            guard let left = answers[action], let first = left.first else { return nil }
            if left.count > 1 { answers[action] = Array(left.dropFirst()) }
            return first
        }
        guard let answer else { throw DrillError(.couldNotLook, "\(action) is not scripted") }
        return try answer.get()
    }

    func databaseToken(host: String, port: Int, user: String) async throws -> Secret { Secret("token") }
}

private struct OneAPI: CloudControl {
    let one: ScriptedAPI
    func api(_ service: CloudService, _ environment: DrillEnvironment) throws -> any CloudAPI { one }
}

@Suite struct RDSMakingTests {
    private static let runID = "20261114T023000Z-a1b2c3"
    private static let name = "muster-20261114t023000z-a1b2c3"
    private static let absent = Result<CloudElement, CloudRefusal>.failure(
        CloudRefusal(status: 404, code: "DBInstanceNotFound", message: "not found"))

    private func instance(
        _ status: String = "available", run: String = RDSMakingTests.runID
    ) -> Result<CloudElement, CloudRefusal> {
        func leaf(_ name: String, _ text: String) -> CloudElement { CloudElement(name: name, text: text) }
        let tag = CloudElement(name: "Tag", children: [leaf("Key", "muster-run-id"), leaf("Value", run)])
        let described = CloudElement(
            name: "DBInstance",
            children: [
                leaf("DBInstanceIdentifier", Self.name), leaf("Engine", "postgres"), leaf("DBInstanceStatus", status),
                CloudElement(name: "TagList", children: [tag]),
            ])
        return .success(
            CloudElement(name: "Result", children: [CloudElement(name: "DBInstances", children: [described])]))
    }

    private func making(_ api: ScriptedAPI) throws -> RDSMaking {
        let source = DrillFileSource(path: "drill.yaml", directory: "/", variables: [:])
        let node = try DrillFileText.parse(
            Array("instance: prod\nsubnet_group: drill\nsecurity_groups: sg-1\nca_file: /dev/null\n".utf8), source)
        let environment = DrillEnvironment.fake()
        let settings = try RDSSettings(
            SettingsReader(node, shape: RDSSettings.shape, path: "backup.database", source: source), environment)
        return RDSMaking(
            settings: settings, control: RDSControl(api: api, clock: environment.clock),
            production: RDSProduction(source: .instance("prod"), engine: "postgres", engineVersion: "15"),
            instant: Date(timeIntervalSince1970: 1_800_000_000), runID: Self.runID, host: "here")
    }

    @Test("P28: a name that exists already is refused, whoever made it")
    func anExistingNameIsRefused() async throws {
        let api = ScriptedAPI(["DescribeDBInstances": [instance()]])
        let error = await #expect(throws: DrillError.self) { try await making(api).refuseExisting() }
        #expect(error?.code == .couldNotLook)
        #expect(api.calls == ["DescribeDBInstances"])
    }

    @Test("P28: an instance of that name that another made in between is not used")
    func anotherRunsInstanceIsNotUsed() async throws {
        let exists = Result<CloudElement, CloudRefusal>.failure(
            CloudRefusal(status: 400, code: "DBInstanceAlreadyExists", message: ""))
        let api = ScriptedAPI([
            "RestoreDBInstanceToPointInTime": [exists], "DescribeDBInstances": [instance(run: "somebody-else")],
        ])
        let error = await #expect(throws: DrillError.self) { try await making(api).make(NoProgress()) }
        #expect(error?.what == "the instance \(Self.name) does not bear the run's tag")
    }

    @Test("P29: only what bears the run's name and its tag is deleted")
    func theRemoverLooksAtTheMarker() async throws {
        func removed(_ api: ScriptedAPI, name: String = RDSMakingTests.name) async throws {
            var environment = DrillEnvironment.fake()
            environment.cloud = OneAPI(one: api)
            let locator = RDSRemover.Locator(
                instance: name, cluster: nil, region: "us-east-1", endpoint: nil, profile: nil)
            try await RDSRemover(environment: environment).remove(
                ScratchItem(kind: "rds", locator: try locator.text), ofRun: Self.runID)
        }
        let others = ScriptedAPI(["DescribeDBInstances": [instance(run: "another")]])
        let error = await #expect(throws: DrillError.self) { try await removed(others) }
        #expect(error?.code == .cleanupFailed)
        #expect(others.calls == ["DescribeDBInstances"])

        let misnamed = ScriptedAPI([:])
        await #expect(throws: DrillError.self) { try await removed(misnamed, name: "prod") }
        #expect(misnamed.calls == [])

        let own = ScriptedAPI([
            "DescribeDBInstances": [instance(), Self.absent],
            "DeleteDBInstance": [.success(CloudElement(name: "Result"))],
        ])
        try await removed(own)
        #expect(own.calls == ["DescribeDBInstances", "DeleteDBInstance", "DescribeDBInstances"])

        try await removed(ScriptedAPI(["DescribeDBInstances": [Self.absent]]))
    }

    @Test(
        "states that an instance does not come up from are told apart",
        arguments: [
            ("restore-error", DrillError.Code.backupUnusable), ("failed", .backupUnusable),
            ("incompatible-network", .couldNotLook), ("insufficient-capacity", .couldNotLook),
        ])
    func failureStates(status: String, code: DrillError.Code) async throws {
        let api = ScriptedAPI([
            "RestoreDBInstanceToPointInTime": [.success(CloudElement(name: "Result"))],
            "DescribeDBInstances": [instance(status)],
        ])
        let error = await #expect(throws: DrillError.self) { try await making(api).make(NoProgress()) }
        #expect(error?.code == code)
    }
}
