import DrillCore

/// One level below a prefix: objects and common prefixes, page by page.
struct FolderListing {
    private let client: S3Client
    private let prefix: [UInt8]
    private let place: String
    private var token: [UInt8]?
    private var isDone = false

    init(_ client: S3Client, prefix: [UInt8], place: String) {
        self.client = client
        self.prefix = prefix
        self.place = place
    }

    /// nil after the last page.
    mutating func next() async throws -> ListingPage? {
        guard !isDone else { return nil }
        var call = S3Call(
            .listObjects,
            query: [
                ("list-type", Array("2".utf8)), ("encoding-type", Array("url".utf8)), ("delimiter", Array("/".utf8)),
                ("prefix", prefix),
            ])
        if let token { call.query.append(("continuation-token", token)) }
        let page: ListingPage
        do {
            page = try ListingPageReader.read(try await client.send(call).body, .objects, plusIsSpace: false)
        } catch PageProblem.malformed(let problem) {
            throw DrillError(.couldNotLook, "a page of the listing is not what S3 sends: \(problem)", at: place)
        } catch PageProblem.service(let body) {
            throw DrillError(.couldNotLook, "the listing was answered with 200 and the error \(body.code)", at: place)
        } catch {
            throw await client.described(error, at: place)
        }
        if page.isTruncated {
            guard let next = page.nextToken, next != token else {
                throw DrillError(.couldNotLook, "a truncated page gives no new token to go on with (S7)", at: place)
            }
            token = next
        } else {
            isDone = true
        }
        return page
    }
}
