import DrillCore

/// What a person does next about a group of findings: what the probe itself says, else what its cause or kind asks for.
func advice(for group: FindingGroup) -> String {
    if let repair = group.first.repair ?? group.last.repair { return repair }
    return advice(for: group.cause) ?? advice(for: group.kind)
}

private func advice(for cause: Cause) -> String? {
    switch cause {
    case .uploadedAfterCopy: "Copy the objects after the database dump has begun, or take both from one instant."
    case .deletedBeforeCopy:
        "Keep deleted objects until the next backup set is complete (versioning, or a delay before deletion)."
    case .notCopied: "Find out why the copy left these objects out, and copy them again."
    case .expiredVersion: "Keep old versions for longer than backup sets are kept (lifecycle rule of the bucket)."
    case .archived: "Restore these objects from the archive class first, or keep what a restore needs out of it."
    case .accessDenied: "Give the account of the drill the right to read these objects, then run the drill again."
    case .keyEncoding: "Write the key in the row exactly as the bucket has it, byte for byte."
    case .otherBucket: "Add that bucket to `backup.objects`, or correct the bucket in the rows."
    case .neverExisted: "Correct the rows: no such object was ever stored."
    case .unknown: nil
    }
}

private func advice(for kind: FindingKind) -> String {
    switch kind {
    case .badReference: "Correct the rows, or the probe's `form` and `key`: this is no reference to an object."
    case .missing:
        "Look whether the live bucket has these objects; `origin:` in the drill file lets the drill look itself."
    case .unreadable: "Read one of these objects by hand with the same credentials to see the storage's own error."
    case .ambiguous: "Name the version in the row (`version:`): several stand for the same instant."
    case .staleVersion: "Take the objects from the same instant as the database."
    case .sizeMismatch: "Compare one object with its row: either the copy was cut short or it is another version."
    case .checksumMismatch:
        "Compare one object with its row: the bytes that the backup holds are not those that the row records."
    case .orphan: "These objects cost storage and no row names them; look why before removing any."
    case .sql:
        "Run the probe's query on the live database: where it holds there, the backup differs; else correct the data."
    case .staleData: "Look whether the backup that produced this set still runs, and against the right server."
    case .structure: "Compare the migrations of the application with the reference file of the probe."
    case .volume: "Find out what shrank: data may have been lost before the backup was taken."
    case .integrity: "Check the live server as well (amcheck, data checksums): the damage may be older than the backup."
    case .command: "Read the command's output in the run's folder."
    case .objective: "Back up more often, restore faster, or agree on another objective."
    case .restore: "Read the tool's log in the run's folder, and take a new backup now: this set cannot be used."
    }
}
