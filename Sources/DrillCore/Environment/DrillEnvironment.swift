import Foundation
import Logging

/// What lies outside the process. Parts reach clocks, child processes and the network only through here.
package struct DrillEnvironment: Sendable {
    package var clock: any DrillClock
    package var processes: any ProcessLauncher
    package var http: any HTTPTransport
    package var sorters: any RecordSorterMaker
    /// The environment variables of this process, as they were at its start.
    package var variables: [String: String]
    package var log: Logger
    package var hostName: String
    /// Counts what a drill asks of object stores; each drill's parts share one of their own, with the drill's limits.
    package var traffic: TrafficMeter
    /// Wired in by the executable; parts of other modules know the provider.
    package var cloud: any CloudControl = NoCloud()

    package init(
        clock: any DrillClock, processes: any ProcessLauncher, http: any HTTPTransport, sorters: any RecordSorterMaker,
        variables: [String: String], log: Logger, hostName: String, traffic: TrafficMeter = TrafficMeter()
    ) {
        self.clock = clock
        self.processes = processes
        self.http = http
        self.sorters = sorters
        self.variables = variables
        self.log = log
        self.hostName = hostName
        self.traffic = traffic
    }
}

package protocol DrillClock: Sendable {
    /// The wall clock, UTC.
    func now() -> Date
    /// Seconds since some fixed instant, never set back: what spans are measured with.
    func monotonicSeconds() -> Double
    func sleep(for duration: Duration) async throws
}
