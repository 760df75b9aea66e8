import DrillCore
import DrillTestKit
import Foundation
import Logging
import Testing

@testable import DrillObjects

@Suite struct QueryServiceTests {
    /// Answers whatever is asked.
    private struct OneAnswer: HTTPTransport {
        var status = 200
        var body: String
        func send(_ request: HTTPRequest) async throws -> HTTPResponse {
            HTTPResponse(head: HTTPHead(status: status, headers: []), body: Array(body.utf8))
        }
        func stream(
            _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
        ) async throws -> HTTPResponse { try await send(request) }
    }

    private func api(
        _ http: any HTTPTransport, region: String? = "us-east-1", endpoint: String? = nil
    ) throws -> any CloudAPI {
        var environment = DrillEnvironment.fake(variables: [
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "HOME": "/nowhere",
        ])
        environment.http = http
        return try AmazonControl().api(
            CloudService(name: "rds", version: "2014-10-31", region: region, endpoint: endpoint), environment)
    }

    @Test func anAnswerIsReadAsElements() async throws {
        let body = """
            <DescribeDBInstancesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeDBInstancesResult>
              <DBInstances><DBInstance><DBName>a &amp; b</DBName><Endpoint><Port>5432</Port></Endpoint><TagList/></DBInstance>
              <DBInstance><DBName/></DBInstance></DBInstances>
            </DescribeDBInstancesResult><ResponseMetadata/></DescribeDBInstancesResponse>
            """
        let found = try await api(OneAnswer(body: body)).call("DescribeDBInstances", [])
        #expect(found.list("DBInstances").count == 2)
        #expect(found.list("DBInstances")[0].text("DBName") == "a & b")
        #expect(found.list("DBInstances")[0]["Endpoint"]?.text("Port") == "5432")
        #expect(found.list("DBInstances")[1].text("DBName") == nil)
    }

    @Test func anErrorIsTheServicesWordAndWhereTheKeysCameFrom() async throws {
        let body = """
            <ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>
            """
        await #expect(
            throws: CloudRefusal(
                status: 403, code: "AccessDenied", message: "not you",
                credentials: "the environment (AWS_ACCESS_KEY_ID)")
        ) {
            _ = try await api(OneAnswer(status: 403, body: body)).call("DescribeDBInstances", [])
        }
    }

    @Test(
        "S7 S30: a page that is not the service's is no answer",
        arguments: [
            (200, "<html></html>"), (200, ""), (404, "<html></html>"), (200, "<DescribeDBInstancesResponse>"),
            (200, "<!DOCTYPE x>"),
        ])
    func aForeignPageIsNoAnswer(status: Int, body: String) async throws {
        let error = await #expect(throws: DrillError.self) {
            _ = try await api(OneAnswer(status: status, body: body)).call("DescribeDBInstances", [])
        }
        #expect(error?.code == .couldNotLook)
    }

    @Test func aRegionOrEndpointThatCannotBeOneIsRefused() throws {
        for (region, endpoint) in [("us-east-1/x", nil), ("evil.example", nil), ("us-east-1", "ftp://x")]
            as [(String, String?)]
        {
            let error = #expect(throws: DrillError.self) { try api(NoNetwork(), region: region, endpoint: endpoint) }
            #expect(error?.code == .usage)
        }
        #expect(try api(NoNetwork()).place == "rds at https://rds.us-east-1.amazonaws.com")
    }
}
