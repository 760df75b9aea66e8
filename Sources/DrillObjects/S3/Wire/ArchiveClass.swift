/// Storage classes whose bytes must be restored first (Amazon S3 User Guide, "Understanding archive retrieval
/// options").
enum ArchiveClass {
    static func isArchived(_ name: UnsafeRawBufferPointer) -> Bool {
        name.elementsEqual("GLACIER".utf8) || name.elementsEqual("DEEP_ARCHIVE".utf8)
    }

    /// How long the standard retrieval takes, for a person. `ARCHIVE_ACCESS` and `DEEP_ARCHIVE_ACCESS` are the tiers of
    /// Intelligent-Tiering, which only a HEAD shows.
    static func note(_ name: String) -> String {
        switch name {
        case "GLACIER", "ARCHIVE_ACCESS", "Archive Access tier": "\(name): a restore takes 3 to 5 hours"
        case "DEEP_ARCHIVE", "DEEP_ARCHIVE_ACCESS", "Deep Archive Access tier":
            "\(name): a restore takes up to 12 hours"
        default: "\(name): the object must be restored before it can be read"
        }
    }
}
