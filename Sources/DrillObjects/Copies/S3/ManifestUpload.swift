import DrillCore

/// Takes the manifest's lines and writes it, in one piece or in parts.
actor ManifestUpload {
    private let scratch: ScratchBucket
    private let partBytes: Int
    private var pending: [UInt8] = []
    private var upload: ScratchUpload?
    private var parts: [String] = []

    init(_ scratch: ScratchBucket, partBytes: Int) {
        self.scratch = scratch
        self.partBytes = partBytes
    }

    private static let name = Array(FileDestination.manifestName.utf8)

    func append(_ lines: [UInt8]) async throws {
        pending += lines
        if pending.count >= partBytes { try await flush() }
    }

    private func flush() async throws {
        let upload = if let upload { upload } else { try await scratch.beginUpload(Self.name, describing: nil) }
        self.upload = upload
        let body = pending
        pending = []
        parts.append(try await upload.put(parts.count + 1, body))
    }

    func finish() async throws {
        guard let upload else { return try await scratch.put(Self.name, pending, describing: nil) }
        if !pending.isEmpty { try await flush() }
        try await upload.complete(parts)
    }
}
