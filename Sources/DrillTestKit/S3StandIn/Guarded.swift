import Foundation

/// A value behind a lock that lets waiting threads sleep; `Mutex` spins, which with more threads than cores takes most
/// of their time.
///
/// `@unchecked Sendable`: `value` is only touched while `lock` is held.
final class Guarded<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func withLock<Result, Failure: Error>(_ body: (inout Value) throws(Failure) -> Result) throws(Failure) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
