/// What the stand-in is about to say. The connection adds `Date`, request ids and the framing.
struct StandInResponse: Sendable {
    enum Body: Sendable {
        case bytes([UInt8])
        /// A page of a generated bucket, rendered by the connection into its own buffer.
        case generated(GeneratedPage)
        /// `head`, then `filler` over and over until `totalBytes` are out, and no end.
        case flood(head: [UInt8], filler: [UInt8], totalBytes: Int)
    }
    enum Framing: Sendable {
        case contentLength
        /// As AWS sends listings.
        case chunked
        /// No length at all: the end of the connection is the end of the body, as with HTTP/1.0.
        case untilClose
    }

    var status = 200
    var headers: [(name: String, value: String)] = []
    var body = Body.bytes([])
    var framing = Framing.contentLength
    /// What `Content-Length` says where that is not the length of `body`, as in the answer to HEAD.
    var declaredLength: Int?

    static func xml(_ bytes: [UInt8], status: Int = 200) -> StandInResponse {
        StandInResponse(status: status, headers: [("Content-Type", "application/xml")], body: .bytes(bytes))
    }

    mutating func setHeader(_ name: String, _ value: String?) {
        headers.removeAll { $0.name.lowercased() == name.lowercased() }
        if let value { headers.append((name, value)) }
    }

    static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 204: "No Content"
        case 206: "Partial Content"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 409: "Conflict"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 416: "Requested Range Not Satisfiable"
        case 429: "Too Many Requests"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Slow Down"
        default: "Status"
        }
    }
}

/// A refusal in the words of AWS.
struct S3Failure: Error {
    var status: Int
    var code: String
    var message: String
    /// Elements after `Message`, such as `Key`.
    var details: [(name: String, value: [UInt8])] = []
    var headers: [(name: String, value: String)] = []

    init(
        _ status: Int, _ code: String, _ message: String, details: [(String, String)] = [],
        headers: [(String, String)] = []
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.details = details.map { (name: $0.0, value: [UInt8]($0.1.utf8)) }
        self.headers = headers.map { (name: $0.0, value: $0.1) }
    }

    static let accessDenied = S3Failure(403, "AccessDenied", "Access Denied")
    static let slowDown = S3Failure(503, "SlowDown", "Please reduce your request rate.")
    static let malformedXML = S3Failure(
        400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    )
    static let noSuchUpload = S3Failure(
        404, "NoSuchUpload",
        "The specified upload does not exist. "
            + "The upload ID may be invalid, or the upload may have been aborted or completed."
    )
    static let noSuchLifecycle = S3Failure(
        404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")

    static func noSuchBucket(_ name: String) -> S3Failure {
        S3Failure(404, "NoSuchBucket", "The specified bucket does not exist", details: [("BucketName", name)])
    }

    static func noSuchKey(_ key: [UInt8]) -> S3Failure {
        var failure = S3Failure(404, "NoSuchKey", "The specified key does not exist.")
        failure.details = [("Key", key)]
        return failure
    }

    static func noSuchVersion(_ key: [UInt8], _ versionID: String) -> S3Failure {
        var failure = S3Failure(404, "NoSuchVersion", "The specified version does not exist.")
        failure.details = [("Key", key), ("VersionId", [UInt8](versionID.utf8))]
        return failure
    }

    static func invalidArgument(_ message: String, _ name: String, _ value: String) -> S3Failure {
        S3Failure(
            400, "InvalidArgument", message, details: [("ArgumentName", name), ("ArgumentValue", value)])
    }

    /// The answer; to a HEAD it has no body, so that only the status tells (S29).
    func response(requestID: String) -> StandInResponse {
        var response = StandInResponse.xml(body(requestID: requestID), status: status)
        response.headers += headers
        return response
    }

    func body(requestID: String) -> [UInt8] {
        var xml = XMLText(declaration: true)
        xml.element("Error") { xml in
            xml.element("Code", code)
            xml.element("Message", message)
            for detail in details { xml.element(detail.name, detail.value) }
            xml.element("RequestId", requestID)
            xml.element("HostId", StandInState.hostID)
        }
        return xml.bytes
    }
}
