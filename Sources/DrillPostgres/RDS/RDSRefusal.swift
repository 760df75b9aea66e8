import DrillCore

extension DrillError {
    /// What RDS's refusal means: the backup is bad, or we could not look. Its own words are kept.
    init(rds refusal: CloudRefusal, _ action: String, at place: String) {
        let what = "\(action) was refused: \(refusal.code)\(refusal.message.isEmpty ? "" : ": " + refusal.message)"
        var hints: [String] = []
        var code = Code.couldNotLook
        switch refusal.code {
        case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized":
            hints = ["Grant \(RDSPermissions.needed(for: action)) to whoever runs drills."]
            if let credentials = refusal.credentials { hints.append("Credentials came from \(credentials).") }
        case "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature",
            "ExpiredToken", "RequestExpired", "MissingAuthenticationToken", "UnrecognizedClientException":
            hints = ["The credentials were refused\(refusal.credentials.map { "; they came from \($0)" } ?? "")."]
        case "DBInstanceNotFound", "DBInstanceNotFoundFault", "DBClusterNotFoundFault":
            hints = ["Check the identifier, `region` and `profile`: each region and account has instances of its own."]
        case "PointInTimeRestoreNotEnabled", "PointInTimeRestoreNotEnabledFault":
            code = .backupUnusable
            hints = ["Automated backups are off (retention of 0 days): there is nothing to restore from."]
        case "InstanceQuotaExceeded", "StorageQuotaExceeded", "DBClusterQuotaExceededFault":
            hints = ["The account's quota is used up: raise it, or delete what is not needed. No backup is at fault."]
        case "InsufficientDBInstanceCapacity", "InsufficientDBClusterCapacityFault",
            "InsufficientStorageClusterCapacity":
            hints = ["Amazon has no such capacity now: name another `instance_class`, or drill later."]
        case "DBSubnetGroupNotFoundFault", "DBSubnetGroupNotAllowedFault", "InvalidSubnet",
            "InvalidVPCNetworkStateFault",
            "DBSubnetGroupDoesNotCoverEnoughAZs":
            hints = ["Check `subnet_group`: it must be of the source's region and VPC, with subnets in two zones."]
        case "DBParameterGroupNotFound", "DBClusterParameterGroupNotFound": hints = ["Check `parameter_group`."]
        case "KMSKeyNotAccessibleFault":
            hints = [
                "The key that encrypts the backups is disabled, deleted or not granted (kms:DescribeKey, kms:CreateGrant, "
                    + "kms:Decrypt). Without it no backup can be restored."
            ]
        case "InvalidParameterValue", "InvalidParameterCombination", "InvalidRestoreFault", "StorageTypeNotSupported":
            hints = ["Check `security_groups`, `instance_class` and the recovery target."]
        default: break
        }
        self.init(code, what, at: place, hints: hints, cause: refusal)
    }
}

/// IAM actions by what asks for them.
enum RDSPermissions {
    static func needed(for action: String) -> String {
        switch action {
        case "RestoreDBInstanceToPointInTime":
            "rds:RestoreDBInstanceToPointInTime and rds:AddTagsToResource (on the source, the new instance `muster-*`, its "
                + "subnet group and parameter group)"
        case "RestoreDBClusterToPointInTime": "rds:RestoreDBClusterToPointInTime and rds:AddTagsToResource"
        case "CreateDBInstance": "rds:CreateDBInstance and rds:AddTagsToResource"
        default: "rds:\(action)"
        }
    }
}
