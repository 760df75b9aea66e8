import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite struct CheckpointTimeTests {
    /// 2026-11-26T05:00:00Z
    private static let seconds: UInt64 = 1_795_669_200

    /// A checkpoint's record as versions 12 to 18 write it, laid out from that place on, across pages.
    private func log(
        at place: UInt64, manager: UInt8 = 0, info: UInt8 = 0x10, seconds: UInt64 = Self.seconds
    ) -> [UInt8] {
        var record = [UInt8](repeating: 0, count: 114)
        record[0] = 114
        record[16] = info
        record[17] = manager
        record[24] = 0xFF
        record[25] = 88
        for index in 0..<8 { record[26 + 64 + index] = UInt8(truncatingIfNeeded: seconds >> (8 * UInt64(index))) }
        var bytes: [UInt8] = []
        for byte in record {
            let position = place + UInt64(bytes.count)
            if position % 8192 == 0 { bytes += [UInt8](repeating: 0xEE, count: position % (1 << 20) == 0 ? 40 : 24) }
            bytes.append(byte)
        }
        return bytes + [UInt8](repeating: 0, count: 512 - bytes.count)
    }

    private func instant(_ bytes: [UInt8], _ place: UInt64) -> Date? {
        CheckpointTime.instant(of: bytes, at: LSN(place), segmentBytes: 1 << 20)
    }

    @Test(
        "the instant is read wherever the record lies, also across pages",
        arguments: [0x30_0028, 0x30_1F80, 0x30_1FF8, 0x30_3F58])
    func theInstantIsRead(place: Int) {
        let place = UInt64(place)
        #expect(instant(log(at: place), place) == parseInstant("2026-11-26T05:00:00Z"))
        #expect(instant(log(at: place, info: 0x00), place) != nil)
    }

    @Test func whatIsNoCheckpointTellsNothing() {
        let place: UInt64 = 0x30_0028
        #expect(instant(log(at: place, manager: 1), place) == nil)
        #expect(instant(log(at: place, info: 0x40), place) == nil)
        #expect(instant(log(at: place, seconds: 5), place) == nil)
        #expect(instant(log(at: place, seconds: .max), place) == nil)
        #expect(instant([], place) == nil)
        #expect(instant(Array(log(at: place).prefix(80)), place) == nil)
    }

    @Test func placesAreTakenFromTheToolsWords() {
        let text = """
            rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/02000060, prev 0/02000028, desc: CHECKPOINT_ONLINE redo 0/2000028; tli 1
            rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/020000D8, prev 0/02000060, desc: SWITCH
            rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 1/0300A060, prev 0/02000028, desc: CHECKPOINT_SHUTDOWN redo 1/300A060
            """
        #expect(CheckpointTime.places(text) == [LSN(0x200_0060), LSN(0x1_0300_A060)])
        #expect(CheckpointTime.places("pg_waldump: error: could not find a valid record") == [])
    }
}
