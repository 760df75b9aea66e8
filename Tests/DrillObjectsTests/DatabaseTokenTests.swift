import DrillCore
import Foundation
import Testing

@testable import DrillObjects

@Suite struct DatabaseTokenTests {
    @Test("an IAM token is the one that botocore makes", .needsBotocore)
    func agreesWithBotocore() throws {
        let seconds: Int64 = 1_794_666_605
        let cases: [(token: DatabaseToken, session: String?)] = [
            (DatabaseToken(host: "db.aaaa.us-east-1.rds.amazonaws.com", port: 5432, user: "drill"), nil),
            (DatabaseToken(host: "db.aaaa.us-east-1.rds.amazonaws.com", port: 443, user: "a b@c/é"), "to/ken+=="),
        ]
        let asks = cases.map { one in
            [
                "seconds": seconds, "id": "AKIDEXAMPLE", "secret": "s/+=", "host": one.token.host,
                "port": one.token.port,
                "user": one.token.user, "region": "us-east-1",
            ].merging(one.session.map { ["token": $0] } ?? [:]) { $1 } as [String: Any]
        }
        let input = String(decoding: try JSONSerialization.data(withJSONObject: asks), as: UTF8.self)
        let theirs = try Botocore.run("rds_token.py", input: input).split(separator: "\n").map(String.init)
        let ours = cases.map { one in
            one.token.signed(
                by: AWSCredentials(
                    accessKeyID: "AKIDEXAMPLE", secretAccessKey: Secret("s/+="),
                    sessionToken: one.session.map(Secret.init),
                    source: "the test"), region: "us-east-1", seconds: seconds
            ).reveal()
        }
        #expect(ours.count == theirs.count)
        for (one, other) in zip(ours, theirs) {
            #expect(parts(one).place == parts(other).place)
            #expect(parts(one).query == parts(other).query)
        }
    }

    /// The order of the query's pairs is free: it is signed sorted.
    private func parts(_ token: String) -> (place: Substring, query: Set<Substring>) {
        let mark = token.firstIndex(of: "?") ?? token.endIndex
        return (token[..<mark], Set(token[mark...].dropFirst().split(separator: "&")))
    }
}
