import DrillCore
import Testing

@Suite struct TrafficMeterTests {
    @Test("What a run asked is read back from the ledger as it was written") func text() throws {
        var totals = TrafficTotals()
        totals[.list] = 1_203
        totals[.write] = 2
        totals.bytesReceived = 12_345_678
        #expect(
            totals.description
                == "1,203 LIST, 0 HEAD, 0 GET, 2 PUT or COPY, 0 DELETE requests; 12,345,678 bytes received, 0 sent, 0 copied"
        )
        #expect(TrafficTotals(totals.description) == totals)
        #expect(TrafficTotals("3 LIST") == nil)
        #expect(TrafficTotals("1 2 3 4 5 6 7 8") == nil)
    }

    @Test("S35: the request after the last one allowed is refused, and so is every other") func requests() throws {
        let meter = TrafficMeter(TrafficLimits(requests: 2))
        try meter.admit(.list)
        try meter.admit(.get)
        #expect(meter.refusal == nil)
        for _ in 0..<2 { #expect(throws: DrillError.self) { try meter.admit(.head) } }
        #expect(meter.totals.allRequests == 2)
        #expect(meter.refusal?.code == .couldNotLook)
        #expect(meter.refusal?.what.contains("1 LIST") == true)
    }

    @Test("S35: bytes count however they move, and removing scratch is never refused") func bytes() throws {
        let meter = TrafficMeter(TrafficLimits(bytes: 10))
        try meter.received(4)
        try meter.sent(3)
        try meter.copied(3)
        try meter.check(requests: 1, bytes: 0, for: "nothing more")
        #expect(throws: DrillError.self) { try meter.copied(1) }
        #expect(throws: DrillError.self) { try meter.admit(.get) }
        try meter.withoutLimits.admit(.delete)
        #expect(meter.totals[.delete] == 1)
    }
}
