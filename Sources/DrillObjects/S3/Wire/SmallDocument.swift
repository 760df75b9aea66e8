import DrillCore

/// A small XML answer as a flat list of its texts, each with the path of its element: for everything but listings.
struct SmallDocument: Sendable {
    struct Leaf: Sendable {
        /// Element names below the root, joined with `/`.
        var path: String
        var text: [UInt8]
        /// The number of the root's child in which it stands, so that repeated elements can be told apart.
        var group: Int
        var string: String { String(decoding: text, as: UTF8.self) }
    }

    static let sizeLimit = 1 << 20

    let root: String
    private(set) var leaves: [Leaf] = []

    init(_ body: [UInt8]) throws(XMLProblem) {
        guard body.count <= Self.sizeLimit else { throw XMLProblem(what: "an answer larger than 1 MiB", offset: 0) }
        (root, leaves) = try body.withUnsafeBufferPointer { buffer throws(XMLProblem) in
            guard var scanner = XMLScanner(UnsafeRawBufferPointer(buffer)) else {
                throw XMLProblem(what: "an empty body", offset: 0)
            }
            try scanner.skipProlog()
            let root = try scanner.openTag()
            var leaves: [Leaf] = []
            if !root.isEmpty { try Self.read(&scanner, root, path: [], group: 0, into: &leaves) }
            try scanner.finish()
            return (scanner.text(root.name), leaves)
        }
    }

    /// The text at that path; the first of several.
    func text(_ path: String) -> String? { leaves.first { $0.path == path }?.string }

    private static func read(
        _ scanner: inout XMLScanner, _ tag: XMLScanner.Tag, path: [String], group: Int, into leaves: inout [Leaf]
    ) throws(XMLProblem) {
        guard path.count < XMLScanner.depthLimit else {
            throw scanner.problem("more than \(XMLScanner.depthLimit) levels")
        }
        // Text or elements: a look ahead tells.
        var probe = scanner
        var group = group
        if let text = try? probe.leaf(tag) {
            scanner = probe
            leaves.append(Leaf(path: path.joined(separator: "/"), text: try scanner.decodedText(text), group: group))
            return
        }
        while let child = try scanner.nextChild(of: tag.name) {
            if path.isEmpty { group += 1 }
            let name = scanner.text(child.name)
            if child.isEmpty {
                leaves.append(Leaf(path: (path + [name]).joined(separator: "/"), text: [], group: group))
            } else {
                try read(&scanner, child, path: path + [name], group: group, into: &leaves)
            }
        }
    }
}

/// What S3 says went wrong. Only the code and the message are kept: other elements may name keys and tokens (X2).
struct S3ErrorBody: Sendable, Equatable {
    var code: String
    var message: String
    /// Of `PermanentRedirect` and `AuthorizationHeaderMalformed`.
    var region: String?
    /// Of `InvalidObjectState`: the tier or the class that must be restored from.
    var archive: String?

    /// nil where the body is no `<Error>` document (STS wraps it in `<ErrorResponse>`).
    init?(_ body: [UInt8]) {
        guard let document = try? SmallDocument(body), document.root == "Error" || document.root == "ErrorResponse"
        else { return nil }
        let prefix = document.root == "Error" ? "" : "Error/"
        guard let code = document.text(prefix + "Code"), !code.isEmpty else { return nil }
        self.code = String(code.prefix(100))
        message = String((document.text(prefix + "Message") ?? "").prefix(300))
        region = document.text(prefix + "Region")
        archive = (document.text("AccessTier") ?? document.text("StorageClass")).map { String($0.prefix(40)) }
    }

    init(code: String, message: String = "") {
        self.code = code
        self.message = message
    }
}
