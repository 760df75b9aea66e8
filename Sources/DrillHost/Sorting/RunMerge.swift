import DrillCore

/// Merges sorted runs by a tree of losers: about log2(runs) comparisons a record. Equal keys come in the order of the runs.
struct RunMerge {
    /// What the runs' buffers may take together, in bytes, within ``bufferBytes`` for each.
    private static let memoryBytes = 8 << 20
    private static let bufferBytes = (16 << 10)...(256 << 10)

    /// What comes next of one run.
    private struct Head {
        /// nil at the run's end.
        var record: SortRecord?
        /// Of its key, behind what all keys have in common.
        var word: UInt64 = 0
    }

    private let runs: [SpilledRun]
    private var heads: [Head] = []
    /// Element 0 is the run whose head comes next; each other one is the loser of the match at that place.
    private var tree: [Int] = []
    private let sharedPrefix: Int

    /// - Parameter sharedPrefix: How many bytes all keys have in common.
    init(_ runs: [SpilledRun], sharedPrefix: Int) throws {
        self.runs = runs
        self.sharedPrefix = sharedPrefix
        let share = Self.memoryBytes / max(1, runs.count)
        let size = min(max(share, Self.bufferBytes.lowerBound), Self.bufferBytes.upperBound)
        for run in runs {
            run.startReading(bufferBytes: size)
            heads.append(head(try run.next()))
        }
        tree = Array(repeating: 0, count: runs.count)
        guard !runs.isEmpty else { return }
        var winners = Array(repeating: 0, count: runs.count) + runs.indices
        for node in stride(from: runs.count - 1, to: 0, by: -1) {
            let (left, right) = (winners[2 * node], winners[2 * node + 1])
            let leftWins = comesBefore(left, right)
            winners[node] = leftWins ? left : right
            tree[node] = leftWins ? right : left
        }
        tree[0] = winners[1]
    }

    /// The record that comes next; nil after the last.
    var head: SortRecord? { runs.isEmpty ? nil : heads[tree[0]].record }

    mutating func advance() throws {
        var winner = tree[0]
        heads[winner] = head(try runs[winner].next())
        var node = (winner + runs.count) / 2
        while node > 0 {
            if comesBefore(tree[node], winner) { swap(&tree[node], &winner) }
            node /= 2
        }
        tree[0] = winner
    }

    private func head(_ record: SortRecord?) -> Head {
        guard let record, record.keyCount > sharedPrefix else { return Head(record: record) }
        return Head(record: record, word: sortWord(record.key, from: sharedPrefix))
    }

    private func comesBefore(_ left: Int, _ right: Int) -> Bool {
        guard let leftRecord = heads[left].record else { return false }
        guard let rightRecord = heads[right].record else { return true }
        let (leftWord, rightWord) = (heads[left].word, heads[right].word)
        if leftWord != rightWord { return leftWord < rightWord }
        let order = compareBytes(leftRecord.key, rightRecord.key)
        return order == 0 ? left < right : order < 0
    }
}
