import DrillCore
import Foundation
import Synchronization

/// Amazon's control planes: a parts module may not ask them itself, and the credentials are here.
package struct AmazonControl: CloudControl {
    package init() {}

    package func api(_ service: CloudService, _ environment: DrillEnvironment) throws -> any CloudAPI {
        try QueryService(service, environment)
    }
}

/// An API of Amazon's Query protocol: a form in, XML out (Amazon RDS User Guide, "Making requests using the Query API").
final class QueryService: CloudAPI {
    private let service: CloudService
    private let environment: DrillEnvironment
    private let origin: HTTPOrigin
    private let trust: HTTPTrust
    private let credentials: CredentialChain
    private let signer: RequestSigner
    /// Server minus ours, seconds; applied only once a server refused our time.
    private let clockOffset = Mutex(0.0)
    let region: String

    init(_ service: CloudService, _ environment: DrillEnvironment) throws {
        let ambient = try AmbientSettings(environment, profile: service.profile, service: service.name.uppercased())
        guard let region = service.region ?? ambient.region else {
            throw DrillError(
                .usage, "the region is not known", hints: ["Set `region`, AWS_REGION, or the region of the profile."])
        }
        guard S3Address.isRegionName(region) else { throw DrillError(.usage, "'\(region)' is no region") }
        if let text = service.endpoint {
            guard let origin = S3Address.origin(text) else {
                throw DrillError(.usage, "'\(text)' is no address such as https://host or http://127.0.0.1:5000")
            }
            self.origin = origin
        } else {
            origin =
                ambient.endpoint
                ?? HTTPOrigin(isSecure: true, host: "\(service.name).\(region).\(S3Address.suffix(region))")
        }
        self.service = service
        self.environment = environment
        self.region = region
        trust = HTTPTrust(caFile: ambient.caFile)
        credentials = CredentialChain(environment: environment, profile: service.profile, region: region)
        signer = RequestSigner(service: service.name)
    }

    var place: String { "\(service.name) at \(origin)" }

    func call(_ action: String, _ parameters: [(name: String, value: String)]) async throws -> CloudElement {
        var mayRefresh = true, mayCorrectClock = true
        while true {
            let keys = try await credentials.current()
            let response: HTTPResponse
            do {
                response = try await environment.http.send(signed(action, parameters, keys))
            } catch let failure as HTTPFailure {
                var error = DrillError(s3: failure, at: place)
                if failure.kind == .tls { error.hints = ["Name the authority's certificate in AWS_CA_BUNDLE."] }
                throw error
            }
            if response.status == 200 { return try result(of: action, response) }
            let refusal = try refusal(response, keys)
            if mayRefresh, ["ExpiredToken", "ExpiredTokenException", "RequestExpired"].contains(refusal.code),
                keys.sessionToken != nil
            {
                mayRefresh = false
                try await credentials.refresh(after: keys)
            } else if mayCorrectClock, correctClock(refusal, response.head) {
                mayCorrectClock = false
            } else {
                throw refusal
            }
        }
    }

    func databaseToken(host: String, port: Int, user: String) async throws -> Secret {
        let keys = try await credentials.current()
        return DatabaseToken(host: host, port: port, user: user).signed(by: keys, region: region, seconds: now)
    }

    private var now: Int64 {
        Int64((environment.clock.now().timeIntervalSince1970 + clockOffset.withLock { $0 }).rounded(.down))
    }

    private func signed(
        _ action: String, _ parameters: [(name: String, value: String)], _ keys: AWSCredentials
    ) -> HTTPRequest {
        var request = HTTPRequest(.post, origin, "/")
        let form = [("Action", action), ("Version", service.version)] + parameters.map { ($0.name, $0.value) }
        request.body = Array(
            form.map { "\(URLEncoding.component($0))=\(URLEncoding.component($1))" }.joined(separator: "&").utf8)
        request.headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")]
        request.timeout = .seconds(60)
        request.bodyLimitBytes = QueryAnswer.limitBytes
        request.trust = trust
        request.isOverload = { response in
            response.status == 400
                && QueryAnswer.error(response.body).map { Self.throttling.contains($0.code) } ?? false
        }
        signer.sign(&request, credentials: keys, region: region, seconds: now)
        return request
    }

    private static let throttling: Set<String> = [
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded",
        "TooManyRequestsException", "SlowDown",
    ]

    private func result(of action: String, _ response: HTTPResponse) throws -> CloudElement {
        do {
            let root = try QueryAnswer.document(response.body)
            guard root.name == action + "Response" else {
                throw XMLProblem(what: "the answer is <\(root.name)>", offset: 0)
            }
            return root[action + "Result"] ?? root
        } catch {
            throw DrillError(
                .couldNotLook, "the answer to \(action) cannot be read: \(error)", at: place,
                hints: ["Check `endpoint`: it may not be \(service.name) that answers there."], cause: error)
        }
    }

    private func refusal(_ response: HTTPResponse, _ keys: AWSCredentials) throws -> CloudRefusal {
        guard let error = QueryAnswer.error(response.body) else {
            throw DrillError(
                .couldNotLook, "HTTP \(response.status) without an error of \(service.name)", at: place,
                hints: ["Check `endpoint`: it may not be \(service.name) that answers there."])
        }
        return CloudRefusal(
            status: response.status, code: error.code, message: error.message, credentials: keys.source)
    }

    /// Learns the server's clock where a signature was too old or too new for it.
    private func correctClock(_ refusal: CloudRefusal, _ head: HTTPHead) -> Bool {
        guard ["RequestExpired", "SignatureDoesNotMatch", "InvalidSignatureException"].contains(refusal.code),
            let server = head.value("date").flatMap(Timestamps.httpDateSeconds)
        else { return false }
        let offset = Double(server) + 0.5 - environment.clock.now().timeIntervalSince1970
        return clockOffset.withLock { known in
            // Another reason than the clock, unless it is off by about what signatures are good for.
            guard abs(offset - known) > 240 else { return false }
            known = offset
            return true
        }
    }
}

/// Answers of the Query protocol.
enum QueryAnswer {
    static let limitBytes = 8 << 20

    static func document(_ body: [UInt8]) throws(XMLProblem) -> CloudElement {
        try body.withUnsafeBufferPointer { buffer throws(XMLProblem) in
            guard var scanner = XMLScanner(UnsafeRawBufferPointer(buffer)) else {
                throw XMLProblem(what: "an empty body", offset: 0)
            }
            try scanner.skipProlog()
            let root = try scanner.openTag()
            let element = try element(&scanner, root, depth: 0)
            try scanner.finish()
            return element
        }
    }

    /// Code and message of `<ErrorResponse>`; other elements may name tokens (X2).
    static func error(_ body: [UInt8]) -> (code: String, message: String)? {
        S3ErrorBody(body).map { ($0.code, $0.message) }
    }

    private static func element(
        _ scanner: inout XMLScanner, _ tag: XMLScanner.Tag, depth: Int
    ) throws(XMLProblem) -> CloudElement {
        guard depth < XMLScanner.depthLimit else {
            throw scanner.problem("more than \(XMLScanner.depthLimit) levels")
        }
        var element = CloudElement(name: scanner.text(tag.name))
        if tag.isEmpty { return element }
        // Text or elements: a look ahead tells.
        var ahead = scanner
        if let text = try? ahead.leaf(tag) {
            element.text = String(decoding: try scanner.decodedText(text), as: UTF8.self)
            scanner = ahead
            return element
        }
        while let child = try scanner.nextChild(of: tag.name) {
            element.children.append(try self.element(&scanner, child, depth: depth + 1))
        }
        return element
    }
}
