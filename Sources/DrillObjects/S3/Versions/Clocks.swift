import DrillCore

/// How far the clocks that a drill depends on are apart (S19): the store's stamps its versions, the database's its commits.
struct Clocks {
    /// Seconds ahead of this machine's; nil where not measured.
    var storeAhead: Double?
    var databaseAhead: Double?
    /// What the drill file allows, microseconds.
    var allowed: Int64
    var store: String

    /// - Parameter tolerance: Of the drill file, in microseconds.
    init(storeAhead: Double?, databaseAhead: Double?, tolerance: Int64, store: String) {
        self.storeAhead = storeAhead
        self.databaseAhead = databaseAhead
        allowed = tolerance
        self.store = store
    }

    /// A `Date` header has whole seconds, and an answer takes its time.
    private static let precision = 1.0

    /// Seconds between the two, as far as measured.
    private var apart: Double? {
        guard let storeAhead, let databaseAhead else { return nil }
        return abs(storeAhead - databaseAhead)
    }

    /// What counts as in doubt around the recovery point, microseconds: no less than what the clocks were seen to be apart.
    var tolerance: Int64 {
        guard let apart, apart - Self.precision > Double(allowed) / 1_000_000 else { return allowed }
        return Int64((apart + Self.precision).rounded(.up)) * 1_000_000
    }

    var notes: [String] {
        guard let storeAhead else { return [] }
        let allowedText = spanText(Double(allowed) / 1_000_000)
        var notes = ["Clocks against this machine's: \(store) \(Self.text(storeAhead))"]
        if let databaseAhead { notes[0] += ", the database server \(Self.text(databaseAhead))" }
        notes[0] += " (skew_tolerance \(allowedText))."
        if tolerance > allowed {
            notes.append(
                "The clocks of the store and of the database are farther apart than skew_tolerance allows: a change within "
                    + "\(spanText(Double(tolerance) / 1_000_000)) of the recovery point counts as in doubt.")
        } else if databaseAhead == nil, abs(storeAhead) - Self.precision > Double(allowed) / 1_000_000 {
            notes.append(
                "This machine's clock and the store's are farther apart than skew_tolerance allows. The recovery point was stamped by the "
                    + "clock of the server that was backed up: see that it agrees with the store's, or raise skew_tolerance."
            )
        }
        return notes
    }

    private static func text(_ ahead: Double) -> String {
        abs(ahead) <= precision ? "agrees" : "\(fixed(abs(ahead), 0)) s \(ahead > 0 ? "ahead" : "behind")"
    }
}
