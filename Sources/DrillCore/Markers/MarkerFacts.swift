/// A row of the marker table.
struct MarkerRow: Sendable, Hashable {
    var number: Int64
    var key: ObjectKey
    /// By the database's clock, microseconds since 1970 UTC, as all instants here.
    var begunAt: Int64
    var insertedAt: Int64
    /// By the object store's clock, in whole seconds; nil where it did not say.
    var objectAt: Int64?
}

/// A marker's object as the inventory at the recovery point has it.
struct MarkerObject: Sendable, Hashable {
    enum State: Sendable, Hashable {
        case present
        /// Written after the recovery point, at that instant of the store's clock where it is known.
        case later(Int64?)
        case deleted
        /// The store's own history does not tell on which side of the recovery point it was written.
        case doubtful
        /// The store would not say.
        case unknown(String)
    }
    var key: ObjectKey
    /// What its key says.
    var at: Int64
    var state: State
}

/// What was found of markers in both stores, and what they are held against.
struct MarkerFacts: Sendable {
    /// The newest ones, oldest first.
    var rows: [MarkerRow]
    /// Older rows were left out.
    var rowsWereCut = false
    /// The newest ones, oldest first.
    var objects: [MarkerObject]
    /// Of the database; nil where it is not known.
    var recoveryPoint: Int64?
    /// The instant asked for; nil for `latest`.
    var target: Int64?
}
