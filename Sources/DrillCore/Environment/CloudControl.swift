/// The control plane of a cloud provider, asked by signed calls. Its parts (credentials, signatures) are of the module that knows
/// the provider; who asks needs no more than this.
package protocol CloudControl: Sendable {
    /// Looks at nothing yet. Throws `usage` where the endpoint or the region cannot be one.
    func api(_ service: CloudService, _ environment: DrillEnvironment) throws -> any CloudAPI
}

/// Which API is asked, where and as whom; nil is what the provider's own tools would take.
package struct CloudService: Sendable {
    /// As signatures and host names have it, such as `rds`.
    package var name: String
    /// Of the API, such as `2014-10-31`.
    package var version: String
    package var region: String?
    /// `https://host:port`.
    package var endpoint: String?
    package var profile: String?
    package init(name: String, version: String, region: String?, endpoint: String? = nil, profile: String? = nil) {
        self.name = name
        self.version = version
        self.region = region
        self.endpoint = endpoint
        self.profile = profile
    }
}

package protocol CloudAPI: Sendable {
    /// Where it is asked, for a person.
    var place: String { get }
    var region: String { get }
    /// One action, asked again where it was throttled or nobody answered.
    /// - Returns: The element that holds the result.
    /// - Throws: ``CloudRefusal`` where the service answered with an error, `couldNotLook` where no answer was to be had.
    func call(_ action: String, _ parameters: [(name: String, value: String)]) async throws -> CloudElement
    /// A password that stands for these credentials at a database, good for 15 minutes.
    func databaseToken(host: String, port: Int, user: String) async throws -> Secret
}

/// The service said no.
package struct CloudRefusal: Error, Sendable, Equatable {
    package var status: Int
    /// The service's own word, such as `DBInstanceNotFound`.
    package var code: String
    package var message: String
    /// Where the credentials that were refused came from, for a person.
    package var credentials: String?
    package init(status: Int, code: String, message: String, credentials: String? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.credentials = credentials
    }
}

/// An element of an XML answer, without its attributes.
package struct CloudElement: Sendable, Equatable {
    package var name: String
    /// Empty where there are children.
    package var text: String
    package var children: [CloudElement]
    package init(name: String, text: String = "", children: [CloudElement] = []) {
        self.name = name
        self.text = text
        self.children = children
    }

    /// The first child of that name.
    package subscript(name: String) -> CloudElement? { children.first { $0.name == name } }
    /// The text of the first child of that name; nil where there is none or it is empty.
    package func text(_ name: String) -> String? { self[name].flatMap { $0.text.isEmpty ? nil : $0.text } }
    /// The elements of a list such as `<TagList><Tag>…</Tag></TagList>`.
    package func list(_ name: String) -> [CloudElement] { self[name]?.children ?? [] }
}

/// No cloud: where nothing was wired in, such as in tests.
package struct NoCloud: CloudControl {
    package init() {}
    package func api(_ service: CloudService, _ environment: DrillEnvironment) throws -> any CloudAPI {
        throw DrillError(.couldNotLook, "this build knows no cloud", at: service.name)
    }
}
