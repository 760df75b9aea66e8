import DrillCore
import Foundation

/// The clocks of this machine.
package struct SystemClock: DrillClock {
    package init() {}

    package func now() -> Date { Date() }

    /// Of `CLOCK_BOOTTIME`, so that a machine that slept does not stretch a deadline.
    package func monotonicSeconds() -> Double {
        var instant = timespec()
        clock_gettime(CLOCK_BOOTTIME, &instant)
        return Double(instant.tv_sec) + Double(instant.tv_nsec) / 1e9
    }

    package func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
}
