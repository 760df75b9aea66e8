/// Runs `body`, then `cleanUp` in a task of its own, which the end of the run does not cancel. What `cleanUp` throws is thrown
/// only where `body` threw nothing; else it becomes a hint of the first error.
package func withCleanUp<Result: Sendable>(
    _ body: () async throws -> Result, cleanUp: @escaping @Sendable () async throws -> Void
) async throws -> Result {
    let outcome: Swift.Result<Result, any Error>
    do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
    let failure = await Task { () -> DrillError? in
        do {
            try await cleanUp()
            return nil
        } catch {
            var failure = DrillError(wrapping: error)
            failure.code = .cleanupFailed
            return failure
        }
    }.value
    guard let failure else { return try outcome.get() }
    guard case .failure(let first) = outcome else { throw failure }
    var error = DrillError(wrapping: first)
    error.hints.append("Besides, scratch could not be removed: \(failure)")
    throw error
}
