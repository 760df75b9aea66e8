import DrillCore

/// What an `s3…` element of the drill file, or `origin:` in it, says of where a bucket is and how it is asked.
struct S3Settings: Sendable {
    enum Listing: String, Sendable, CaseIterable { case auto, list, head }

    var address: S3Address
    /// Of the keys in that bucket; taken off before they are compared with rows.
    var prefix: [UInt8]
    var profile: String?
    var listing: Listing
    var concurrency: Int
    /// Whole sentences for the report: what was relaxed, and settings that came from the environment.
    var notes: [String]

    /// `s3://bucket/prefix`, for a person.
    var place: String { "s3://\(address.bucket)" + (prefix.isEmpty ? "" : "/" + printable(prefix)) }

    static let connectionFields = [
        SettingsField(
            "url", .text,
            "`s3://bucket/prefix` where the objects really are, when that is not the bucket that rows name."),
        SettingsField(
            "endpoint", .text,
            "`https://host:port` of an S3-compatible store. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's "
                + "endpoint_url, else Amazon's."
        ),
        SettingsField(
            "region", .text,
            "Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, else us-east-1; a wrong one is corrected once by what "
                + "the bucket answers."
        ),
        SettingsField(
            "path_style", .boolean,
            "Whether the bucket stands in the path of the URL. Default: true with an endpoint that is not Amazon's."),
        SettingsField("profile", .text, "A profile of the AWS files; then credentials are looked for nowhere else."),
        SettingsField(
            "ca_file", .text, "A PEM file of the authorities to believe. Default: AWS_CA_BUNDLE, else the system's."),
        SettingsField(
            "insecure", .boolean, "true accepts any certificate; every report prints it as a waiver. Default: false."),
        SettingsField(
            "request_payer", .boolean, "true agrees to pay for requests to a Requester Pays bucket. Default: false."),
    ]

    static let listingFields = [
        SettingsField(
            "listing", .choice(Listing.allCases.map(\.rawValue)),
            "head asks for each key of the rows, which is cheap for few rows beside a big bucket; list, and auto (default), list. "
                + "Orphans always need a listing."
        ),
        SettingsField("concurrency", .integer(1...256), "Requests in flight at a time. Default: 32."),
        SettingsField(
            "origin",
            .settings(
                SettingsShape(
                    "The live bucket, read only, asked about keys with findings to tell their cause.",
                    [SettingsField("bucket", .text, "Its name. Default: the bucket that rows name.")] + connectionFields
                )),
            "The live bucket, asked only about keys with findings."),
    ]

    /// - Parameter bucket: As rows name it; `url:` may say that the objects are elsewhere.
    init(_ reader: SettingsReader, bucket: String, _ environment: DrillEnvironment) throws {
        var bucket = bucket
        prefix = []
        if let url = try reader.string("url") {
            guard let location = Self.location(url) else {
                throw reader.error("url", "'\(url)' is not of the form s3://bucket/prefix")
            }
            (bucket, prefix) = location
        }
        profile = try reader.string("profile")
        let ambient = try AmbientSettings(environment, profile: profile)
        notes = []

        var endpoint: HTTPOrigin?
        if let text = try reader.string("endpoint") {
            guard let origin = S3Address.origin(text) else {
                throw reader.error("endpoint", "'\(text)' is no address such as https://host or http://127.0.0.1:9000")
            }
            endpoint = origin
        } else if let origin = ambient.endpoint {
            endpoint = origin
            notes.append("s3://\(bucket) is asked at \(origin), which \(ambient.endpointSource) names.")
        }
        let region = try reader.string("region") ?? ambient.region ?? "us-east-1"
        guard S3Address.isRegionName(region) else { throw reader.error("region", "'\(region)' is no region") }
        address = S3Address(
            bucket: bucket, endpoint: endpoint, region: region, pathStyle: try reader.bool("path_style"))
        guard !address.isDirectoryBucket else {
            throw reader.error(
                reader.has("url") ? "url" : "bucket",
                "`\(bucket)` is a directory bucket, which lists its keys in no order",
                hints: ["Copy it to a general purpose bucket, or drill that copy."])
        }
        address.trust = HTTPTrust(
            caFile: try reader.string("ca_file").map(reader.source.absolute) ?? ambient.caFile,
            verifiesPeer: try !(reader.bool("insecure") ?? false))
        address.requesterPays = try reader.bool("request_payer") ?? false
        if !address.trust.verifiesPeer {
            notes.append("Waiver: the certificate of \(address.origin) was not verified (insecure: true).")
        }
        listing = reader.has("listing") ? try reader.choice("listing", Listing.self) ?? .auto : .auto
        concurrency = Int(try reader.integer("concurrency", in: 1...256) ?? 32)
    }

    /// Of a bucket outside of `backup.objects`, with nothing but what the environment says.
    init(bucket: String, prefix: [UInt8], _ environment: DrillEnvironment) throws {
        let ambient = try AmbientSettings(environment, profile: nil)
        address = S3Address(
            bucket: bucket, endpoint: ambient.endpoint, region: ambient.region ?? "us-east-1", pathStyle: nil)
        address.trust = HTTPTrust(caFile: ambient.caFile)
        self.prefix = prefix
        listing = .list
        concurrency = 8
        notes = []
    }

    /// Bucket and prefix of `s3://bucket/prefix`; a prefix gets its slash at the end. nil for anything else.
    static func location(_ url: String) -> (bucket: String, prefix: [UInt8])? {
        guard url.hasPrefix("s3://") else { return nil }
        let rest = url.dropFirst("s3://".count)
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        guard slash > rest.startIndex else { return nil }
        var prefix = Array(rest[slash...].dropFirst().utf8)
        while prefix.last == UInt8(ascii: "/") { prefix.removeLast() }
        if !prefix.isEmpty { prefix.append(UInt8(ascii: "/")) }
        return (String(rest[..<slash]), prefix)
    }

    func client(_ environment: DrillEnvironment, _ credentials: any CredentialSource) -> S3Client {
        S3Client(
            address, transport: environment.http, clock: environment.clock, credentials: credentials,
            traffic: environment.traffic)
    }
}

/// What the environment and the profile say of region and endpoint, as all AWS tools read it.
struct AmbientSettings {
    var region: String?
    var endpoint: HTTPOrigin?
    var endpointSource = ""
    var caFile: String?

    /// - Parameter service: As its endpoint's variable is named, such as `S3`.
    init(_ environment: DrillEnvironment, profile: String?, service: String = "S3") throws {
        let variables = environment.variables
        let name = profile ?? variables["AWS_PROFILE"] ?? "default"
        let settings = try ProfileFiles(variables: variables).settings(name) ?? [:]
        region = variables["AWS_REGION"] ?? variables["AWS_DEFAULT_REGION"]
        // A profile that the drill file names knows its own region better than the environment does.
        if profile != nil || region == nil { region = settings["region"] ?? region }
        caFile = variables["AWS_CA_BUNDLE"] ?? settings["ca_bundle"]
        guard variables["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"]?.lowercased() != "true" else { return }
        for (source, text) in [
            ("AWS_ENDPOINT_URL_\(service)", variables["AWS_ENDPOINT_URL_\(service)"]),
            ("AWS_ENDPOINT_URL", variables["AWS_ENDPOINT_URL"]),
            ("profile \"\(name)\"", settings["endpoint_url"]),
        ] {
            guard let text, !text.isEmpty else { continue }
            guard let origin = S3Address.origin(text) else {
                throw DrillError(.usage, "'\(text)' is no address", at: source)
            }
            endpoint = origin
            endpointSource = source
            return
        }
    }
}
