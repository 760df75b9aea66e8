import DrillCore
import Foundation

/// What the drill file says of a point-in-time restore on Amazon RDS.
struct RDSSettings: Sendable {
    enum Source: Sendable, Hashable, Codable {
        case instance(String)
        case cluster(String)

        var identifier: String {
            switch self {
            case .instance(let name), .cluster(let name): name
            }
        }
        /// For people.
        var text: String {
            switch self {
            case .instance(let name): "instance \(name)"
            case .cluster(let name): "cluster \(name)"
            }
        }
    }

    struct Login: Sendable {
        /// nil is the source's master user.
        var user: String?
        /// nil is the database that RDS names, else `postgres`.
        var database: String?
        var passwordFile: String?
        var password: Secret?
        /// `~/.pgpass`, or the file that PGPASSFILE names; nil is libpq's own.
        var passFile: String?
        var usesIAM: Bool
        var caFile: String
        /// A tunnel or proxy in place of the instance's own address and port.
        var connectHost: String?
        var connectPort: Int?
    }

    var source: Source
    var subnetGroup: String
    var securityGroups: [String]
    var instanceClass: String?
    var parameterGroup: String?
    var login: Login
    var service: CloudService

    static let shape = SettingsShape(
        "rds: Amazon RDS or Aurora, restored to an instant as a new instance",
        [
            SettingsField("instance", .text, "The identifier of the production instance. Either this or `cluster`."),
            SettingsField("cluster", .text, "The identifier of the production Aurora cluster."),
            SettingsField("region", .text, "Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's."),
            SettingsField(
                "subnet_group", .text, required: true,
                "The DB subnet group that the new instance is put into: your network, never the default one."),
            SettingsField(
                "security_groups", .list(.text), required: true,
                "The VPC security groups of the new instance; they decide who reaches it, and what it reaches."),
            SettingsField("instance_class", .text, "Such as db.t4g.medium. Default: the source's own."),
            SettingsField(
                "parameter_group", .text,
                "The DB parameter group of the new instance (of a cluster: its cluster parameter group). Default: RDS's own."
            ),
            SettingsField("database", .text, "The database to probe. Default: the one that RDS names, else postgres."),
            SettingsField("user", .text, "The role to probe as. Default: the source's master user."),
        ] + PostgresPassword.fields + [
            SettingsField(
                "iam_auth", .boolean, "true signs in by an IAM token (rds-db:connect) in place of a password."),
            SettingsField(
                "ca_file", .text, required: true,
                "The PEM file of RDS's certificate authorities (its global bundle): the connection is verified in full."
            ),
            SettingsField(
                "connect", .settings(tunnel),
                "A tunnel or proxy in place of the instance's own address; its certificate must still be the instance's."
            ),
            SettingsField(
                "endpoint", .text,
                "`https://host` of a VPC endpoint of RDS. Default: AWS_ENDPOINT_URL_RDS, AWS_ENDPOINT_URL, else Amazon's."
            ),
            SettingsField(
                "profile", .text, "A profile of the AWS files; then credentials are looked for nowhere else."),
        ])

    private static let tunnel = SettingsShape(
        "connect: a tunnel or proxy to the new instance",
        [
            SettingsField("host", .text, "Where it listens, such as 127.0.0.1."),
            SettingsField("port", .integer(1...65535), "On which port. Default: the instance's own."),
        ])

    init(_ reader: SettingsReader, _ environment: DrillEnvironment) throws {
        switch (try reader.string("instance"), try reader.string("cluster")) {
        case (let name?, nil): source = .instance(try Self.identifier(name, "instance", reader))
        case (nil, let name?): source = .cluster(try Self.identifier(name, "cluster", reader))
        case (nil, nil): throw reader.error("instance", "is missing: name the production `instance`, or its `cluster`")
        case (_?, _?): throw reader.error("cluster", "stands beside `instance`; name one of them")
        }
        subnetGroup = try reader.requiredString("subnet_group")
        securityGroups = try reader.required("security_groups", reader.strings("security_groups"))
        guard !securityGroups.isEmpty else { throw reader.error("security_groups", "names none") }
        instanceClass = try reader.string("instance_class")
        parameterGroup = try reader.string("parameter_group")
        login = try Self.login(reader, environment)
        service = CloudService(
            name: "rds", version: "2014-10-31", region: try reader.string("region"),
            endpoint: try reader.string("endpoint"), profile: try reader.string("profile"))
    }

    /// Letters, digits and hyphens (Amazon RDS API Reference); RDS itself knows them in lower case.
    private static func identifier(_ name: String, _ key: String, _ reader: SettingsReader) throws -> String {
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard (1...63).contains(name.utf8.count), isPlain else {
            throw reader.error(key, "'\(printable(name.utf8))' is no identifier of RDS: letters, digits and hyphens")
        }
        return name.lowercased()
    }

    private static func login(_ reader: SettingsReader, _ environment: DrillEnvironment) throws -> Login {
        let password = try PostgresPassword(reader, environment)
        let usesIAM = try reader.bool("iam_auth") ?? false
        if usesIAM, password.file != nil || password.secret != nil {
            throw reader.error("iam_auth", "stands beside a password; give one of them")
        }
        if let file = password.file, !FileManager.default.isReadableFile(atPath: file) {
            throw reader.error("password_file", "there is no readable file `\(file)`")
        }
        let caFile = reader.source.absolute(try reader.requiredString("ca_file"))
        guard FileManager.default.isReadableFile(atPath: caFile) else {
            throw reader.error(
                "ca_file", "there is no readable file `\(caFile)`",
                hints: ["RDS's authorities: https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"])
        }
        let connect = try reader.settings("connect", tunnel)
        return Login(
            user: try reader.string("user"), database: try reader.string("database"), passwordFile: password.file,
            password: password.secret, passFile: environment.variables["PGPASSFILE"].flatMap { $0.isEmpty ? nil : $0 },
            usesIAM: usesIAM, caFile: caFile, connectHost: try connect?.string("host"),
            connectPort: try connect?.integer("port", in: 1...65535).map { Int($0) })
    }
}
