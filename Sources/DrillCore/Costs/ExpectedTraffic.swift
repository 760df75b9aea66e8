/// How much there is in one bucket, as far as a request or two tell.
package struct BucketMeasure: Sendable {
    package var bucket: String
    package var place: String
    /// Whether asking about it costs requests: a bucket in S3.
    package var isRemote: Bool
    /// Keys, and entries of a listing: objects, or versions and delete markers.
    package var objects: Int64 = 0
    package var entries: Int64 = 0
    package var bytes: Int64 = 0
    /// False where there is more than was counted.
    package var isWhole = true
    /// Whether it is listed; else each key of the rows is asked for.
    package var isListed = true
    /// Requests that are made whatever is in it.
    package var fixed = TrafficTotals()

    package init(bucket: String, place: String, isRemote: Bool) {
        self.bucket = bucket
        self.place = place
        self.isRemote = isRemote
    }

    /// Pages of a listing.
    package var pages: Int64 { max(1, (entries + 999) / 1000) }
}

/// What one step of a drill is expected to ask of S3 and to move.
package struct ExpectedTraffic: Sendable {
    package enum Bound: Sendable { case exactly, atLeast, atMost }

    package var step: String
    package var totals: TrafficTotals
    package var bound: Bound
    /// What the numbers rest or depend on, one sentence; nil where the step says all.
    package var basis: String?

    package init(_ step: String, _ totals: TrafficTotals, _ bound: Bound, basis: String? = nil) {
        self.step = step
        self.totals = totals
        self.bound = bound
        self.basis = basis
    }

    /// Listing a bucket's inventory once.
    package static func listing(_ measure: BucketMeasure, step: String) -> ExpectedTraffic {
        var totals = measure.fixed
        guard measure.isListed else {
            return ExpectedTraffic(step, totals, .atLeast, basis: "And a HEAD for each key that a row names.")
        }
        totals[.list] += measure.pages
        if measure.isWhole { return ExpectedTraffic(step, totals, .atMost) }
        return ExpectedTraffic(
            step, totals, .atLeast,
            basis:
                "There are more than \(grouped(measure.entries)) entries: a LIST for each 1,000 of them, and a few more to list "
                + "ranges side by side.")
    }
}

extension TrafficTotals {
    package static func + (left: TrafficTotals, right: TrafficTotals) -> TrafficTotals {
        var sum = left
        for kind in Request.allCases { sum[kind] += right[kind] }
        sum.bytesReceived += right.bytesReceived
        sum.bytesSent += right.bytesSent
        sum.bytesCopied += right.bytesCopied
        return sum
    }

    /// `1 LIST, 12 GET; 3,456 bytes received`, without what there is none of.
    package var shortText: String {
        let asked = Request.allCases.filter { self[$0] > 0 }.map { "\(grouped(self[$0])) \($0.words)" }
        let moved = [(bytesReceived, "received"), (bytesSent, "sent"), (bytesCopied, "copied")].filter { $0.0 > 0 }
            .map { "\(grouped($0.0)) bytes \($0.1)" }
        let parts = [asked, moved].filter { !$0.isEmpty }.map { $0.joined(separator: ", ") }
        return parts.isEmpty ? "nothing" : parts.joined(separator: "; ")
    }
}

/// Amazon's list prices, for an estimate and no more.
package enum S3PriceList {
    package static let name = "Amazon's list prices of 2025 for us-east-1, S3 Standard"
    /// Dollars for 1,000 requests.
    private static let thousandReads = 0.0004
    private static let thousandWrites = 0.005
    /// Dollars for a GB (10^9 bytes here) sent out to the internet, in the lowest tier. Nothing within a region.
    private static let gigabyteOut = 0.09
    /// Dollars for a GB kept for a month.
    private static let gigabyteMonth = 0.023

    package static let sentence =
        "LIST, PUT, COPY and POST $0.005 for 1,000; GET and HEAD $0.0004 for 1,000; DELETE nothing; bytes out to the internet $0.09 a GB "
        + "(within the region nothing); scratch copies $0.023 a GB and month for as long as they exist. Infrequent-access and archive "
        + "classes cost more to read."

    /// For the requests alone.
    package static func requests(_ totals: TrafficTotals) -> Double {
        Double(totals[.list] + totals[.write]) / 1000 * thousandWrites
            + Double(totals[.head] + totals[.get]) / 1000 * thousandReads
    }

    /// What the bytes cost where this machine is outside of Amazon's region.
    package static func bytesOut(_ totals: TrafficTotals) -> Double {
        Double(totals.bytesReceived) / 1_000_000_000 * gigabyteOut
    }

    /// `$0.0004`; what is less than a hundredth of a cent says so.
    package static func dollars(_ amount: Double) -> String {
        if amount == 0 { return "$0" }
        if amount < 0.0001 { return "less than $0.0001" }
        return "$" + fixed(amount, amount < 1 ? 4 : 2)
    }
}

/// All that a run is expected to ask, as `muster plan` says it.
package struct CostPlan: Sendable {
    package var steps: [ExpectedTraffic]

    package init(_ steps: [ExpectedTraffic]) { self.steps = steps }

    package var total: ExpectedTraffic {
        let sum = steps.reduce(TrafficTotals()) { $0 + $1.totals }
        let isOpen = steps.contains { $0.bound == .atLeast }
        let isBounded = steps.contains { $0.bound == .atMost }
        return ExpectedTraffic("in all", sum, isOpen ? .atLeast : isBounded ? .atMost : .exactly)
    }

    /// A line a step, the sum, and what list prices make of it.
    package var lines: [String] {
        let total = self.total
        var lines = steps.map(Self.line)
        lines.append(Self.line(total))
        lines.append(
            "\(Self.price(S3PriceList.requests(total.totals), total.bound)) for the requests and "
                + "\(Self.price(S3PriceList.bytesOut(total.totals), total.bound)) for the bytes if they leave the region, at "
                + "\(S3PriceList.name): \(S3PriceList.sentence)")
        lines.append(
            "Bytes are those of objects. Answers to requests, retries, and a HEAD for each key that a row names and no listing does come "
                + "on top.")
        return lines
    }

    private static func line(_ expected: ExpectedTraffic) -> String {
        let basis = expected.basis.map { " \($0)" } ?? ""
        let bound = expected.totals.isNothing && expected.bound == .atMost ? "" : word(expected.bound)
        return "\(expected.step): \(bound)\(expected.totals.shortText).\(basis)"
    }

    private static func price(_ amount: Double, _ bound: ExpectedTraffic.Bound) -> String {
        let isTiny = amount < 0.0001 && bound != .atLeast
        return (isTiny ? "" : word(bound)) + S3PriceList.dollars(amount)
    }

    private static func word(_ bound: ExpectedTraffic.Bound) -> String {
        switch bound {
        case .exactly: ""
        case .atLeast: "at least "
        case .atMost: "at most "
        }
    }
}
