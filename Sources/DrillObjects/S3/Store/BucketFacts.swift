import DrillCore

/// What a bucket says of itself: versioning and lifecycle.
struct BucketFacts {
    enum Versioning: Sendable { case enabled, suspended, never }

    private let reader: BucketReader

    init(_ reader: BucketReader) { self.reader = reader }

    /// The state now, and what a reader of the report should know of it. Throws where it cannot be asked.
    func versioning() async throws -> (Versioning, notes: [String]) {
        let document = try await document(.bucketVersioning, "versioning", root: "VersioningConfiguration")
        switch document.text("Status") {
        case "Enabled": return (.enabled, [])
        case "Suspended":
            return (
                .suspended,
                [
                    "Versioning of \(reader.place) is suspended: each write and deletion since destroys the null version before it, so history "
                        + "from then on is incomplete."
                ]
            )
        case nil: return (.never, [])
        case let other?:
            throw DrillError(
                .couldNotLook, "GetBucketVersioning was answered with the unknown status '\(printable(other.utf8))'",
                at: reader.place)
        }
    }

    /// The lifecycle rules; where they cannot be asked for, none, and a note that says so.
    func retention(now: Int64) async throws -> (RetentionRules, notes: [String]) {
        do {
            let document = try await document(.bucketLifecycle, "lifecycle", root: "LifecycleConfiguration")
            return (RetentionRules(document, now: now), [])
        } catch let error as DrillError {
            guard let service = error.cause as? S3ServiceError else { throw error }
            // The usual answer where there is no rule at all.
            if service.code == "NoSuchLifecycleConfiguration" { return (RetentionRules(now: now), []) }
            guard [403, 404, 405, 501].contains(service.status) else { throw error }
            return (
                RetentionRules(now: now),
                [
                    "The lifecycle rules of \(reader.place) could not be read (HTTP \(service.status), s3:GetLifecycleConfiguration): whether "
                        + "they removed versions is not known."
                ]
            )
        }
    }

    private func document(_ operation: S3Operation, _ subresource: String, root: String) async throws -> SmallDocument {
        do {
            let response = try await reader.client.send(S3Call(operation, query: [(subresource, nil)]))
            let document = try SmallDocument(response.body)
            guard document.root == root else {
                throw XMLProblem(what: "the root is <\(document.root)>, not <\(root)>", offset: 0)
            }
            return document
        } catch let problem as XMLProblem {
            throw DrillError(
                .couldNotLook, "\(operation.rawValue) was answered with something else than S3 sends: \(problem)",
                at: reader.place,
                hints: ["Check `endpoint`: a proxy or another server may have answered."])
        } catch {
            throw await reader.described(error)
        }
    }
}
