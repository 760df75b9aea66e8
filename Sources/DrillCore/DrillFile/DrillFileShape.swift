/// What a whole drill file may hold; the shapes of its kinds come from the registry.
package enum DrillFileShape {
    package static let root = SettingsShape(
        "A Muster drill: restores the newest backup set into scratch and probes it.",
        [
            SettingsField(
                "drill", .name("^[a-z0-9-]{1,63}$"), required: true,
                "The drill's name, [a-z0-9-]{1,63}, in every report."),
            SettingsField("description", .text, "One line for reports."),
            SettingsField("objectives", .settings(objectives), "What was promised; each is judged where it is given."),
            SettingsField(
                "deadline", .duration, "For the whole run; past it the run is inconclusive and scratch is removed."),
            SettingsField("backup", .settings(backup), required: true, "What is restored."),
            SettingsField("scratch", .settings(scratch), "Where it is restored to."),
            SettingsField(
                "limits", .settings(limits),
                "What the drill may ask of object stores and move; at a limit the run is inconclusive. Default: no limit."
            ),
            SettingsField(
                "probes", .list(.kinded(.probe, common: probeCommon)), required: true,
                "The questions put to the restored set."),
            SettingsField(
                "markers", .settings(MarkerSettings.shape),
                "Pairs of a row and an object that production writes; they prove where both stores stand."),
        ])

    static let objectives = SettingsShape(
        "objectives",
        [
            SettingsField("rpo", .duration, "From the recovery point to the start of the run, at most."),
            SettingsField("rto", .duration, "From the start of the run until the restored set can be used, at most."),
            SettingsField("max_backup_age", .duration, "Age of the set by its own name or catalog, at most."),
        ])

    static let backup = SettingsShape(
        "backup",
        [
            SettingsField(
                "target", .either([.instant(words: ["latest"]), .settings(target)]),
                "The instant to recover to, RFC 3339 with an offset; latest unless said."),
            SettingsField("sets", .text, "A directory, or s3://bucket/prefix, with one folder a set."),
            SettingsField("named", .text, "How the set folders are named, as strftime; UTC without %z."),
            SettingsField(
                "fall_back", .boolean, "Go on with the next older set where the newest cannot be used. Default: true."),
            SettingsField(
                "settle", .duration,
                "An incomplete set whose newest file is younger is still being written. Default: 10m."),
            SettingsField(
                "hooks", .settings(VolumeHooks.shape),
                "Commands of your own that make a set's volume appear and disappear."),
            SettingsField("database", .kinded(.database, common: []), required: true, "The database backup."),
            SettingsField(
                "objects", .list(.kinded(.objects, common: [bucket])),
                "The object backups, one for each bucket that rows name."),
        ])

    static let target = SettingsShape(
        "target",
        [
            SettingsField("lsn", .text, "A WAL location such as 0/3000060."),
            SettingsField("name", .text, "A restore point made by pg_create_restore_point."),
        ])

    static let bucket = SettingsField("bucket", .text, required: true, "The bucket's name as rows know it.")

    static let scratch = SettingsShape(
        "scratch",
        [
            SettingsField("directory", .text, "Scratch directories are made in it. Default: $TMPDIR, else /var/tmp."),
            SettingsField("database", .kinded(.scratchDatabase, common: []), "Default: { kind: cluster }."),
            SettingsField(
                "objects", .kinded(.scratchObjects, common: []), "Default: { kind: view }; nothing is copied."),
            SettingsField("keep", .choice(ScratchSettings.Keep.allCases.map(\.rawValue)), "Default: never."),
        ])

    static let limits = SettingsShape(
        "limits",
        [
            SettingsField("requests", .integer(1...Int64.max), "Requests to S3, of views and copies alike."),
            SettingsField(
                "bytes", .byteCount,
                "Bytes received from S3, sent to it, and copied within it or from a directory into scratch."),
        ])

    static let probeCommon = [
        SettingsField(
            "name", .name("^[A-Za-z0-9._-]{1,63}$"), required: true,
            "Letters, digits, `-`, `_` and `.`, at most 63; once in a drill.")
    ]
}
