/// What a person does next.
func repairText(_ kind: FindingKind, _ cause: Cause) -> String {
    switch (kind, cause) {
    case (_, .uploadedAfterCopy):
        "Take the object copy after the database backup, or resolve a versioned bucket at the backup's instant."
    case (_, .deletedBeforeCopy):
        "Copy the objects before the database backup as well, or keep deleted objects (versioning) until both are done."
    case (.missing, .keyEncoding):
        "Make the row and the key agree byte for byte, or say in the drill file how the row spells it."
    case (.missing, .otherBucket): "Add the bucket to the backup and to backup.objects, or correct the row."
    case (.missing, .notCopied): "Copy this key by other means: the copy's kind cannot hold it, or left it out."
    case (_, .expiredVersion): "Keep noncurrent versions at least as long as you may want to go back."
    case (_, .archived): "Plan for the retrieval time, or keep referenced objects out of archive classes."
    case (_, .accessDenied): "Give the reader of the backup the right to read this object."
    case (.badReference, _): "Correct the row, or the drill file's `form`, `prefix` and `hosts`."
    case (.missing, _): "Restore the object from another set or the live bucket, or correct the row."
    case (.checksumMismatch, _):
        "Compare with the live object; where a sync made the copy, same-size changes need `--exact-timestamps` or a fresh copy."
    case (.sizeMismatch, _), (.staleVersion, _): "Compare with the live object and with the time of the copy."
    case (.orphan, _): "Delete it after a second look, or add the probe of the table that names it."
    case (.ambiguous, _): "Store the version ID, or size and checksum, in the row: then the instant need not decide."
    case (.unreadable, _): "Read the object by hand and mend what stands in the way."
    default: "Look at the evidence in the run's folder."
    }
}
