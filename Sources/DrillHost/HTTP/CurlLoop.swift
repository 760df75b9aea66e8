import CLibCurl
import DrillCore
import Foundation
import Synchronization

/// The thread that moves all transfers. Others only leave messages in its inbox.
final class CurlLoop: Sendable {
    /// `@unchecked`: other threads use the pointer for curl_multi_wakeup alone, under the lock, until the thread takes it away.
    private struct Inbox: @unchecked Sendable {
        var multi: UnsafeMutableRawPointer?
        var added: [PendingTransfer] = []
        var cancelled: [TransferTicket] = []
        var isStopped = false
        var counters = CurlTransport.Counters()
    }

    /// Once in a process, before any other thread calls libcurl.
    private static let isLibraryReady = curl_global_init(Int(CURL_GLOBAL_SSL)) == CURLE_OK

    private let inbox = Mutex(Inbox())

    init(maxConnections: Int) throws {
        guard Self.isLibraryReady, let multi = curl_multi_init() else {
            throw DrillError(.couldNotLook, "libcurl does not start")
        }
        for option in [CURLMOPT_MAX_TOTAL_CONNECTIONS, CURLMOPT_MAXCONNECTS] {
            guard shim_multi_set_long(multi, option, maxConnections) == CURLM_OK else {
                curl_multi_cleanup(multi)
                throw DrillError(.couldNotLook, "libcurl refuses \(maxConnections) connections")
            }
        }
        let address = Int(bitPattern: multi)
        inbox.withLock { $0.multi = UnsafeMutableRawPointer(bitPattern: address) }
        let thread = Thread { [self] in run(UnsafeMutableRawPointer(bitPattern: address)) }
        thread.name = "http"
        thread.start()
    }

    var counters: CurlTransport.Counters { inbox.withLock { $0.counters } }

    func add(_ pending: PendingTransfer) {
        let isStopped = inbox.withLock { inbox in
            if !inbox.isStopped { inbox.added.append(pending) }
            curl_multi_wakeup(inbox.multi)
            return inbox.isStopped
        }
        if isStopped { pending.continuation.resume(throwing: CancellationError()) }
    }

    func cancel(_ ticket: TransferTicket) {
        ticket.cancel()
        inbox.withLock { inbox in
            inbox.cancelled.append(ticket)
            curl_multi_wakeup(inbox.multi)
        }
    }

    func stop() {
        inbox.withLock { inbox in
            inbox.isStopped = true
            curl_multi_wakeup(inbox.multi)
        }
    }

    // MARK: On the thread

    private func run(_ multi: UnsafeMutableRawPointer?) {
        var transfers: [UnsafeMutableRawPointer: CurlTransfer] = [:]
        // Handles whose transfer is over: their buffers and settings are cheaper to reset than to make anew.
        var idle: [UnsafeMutableRawPointer] = []
        var failure: HTTPFailure?
        while failure == nil {
            let (added, cancelled, isStopped) = takeInbox()
            if isStopped { break }
            for pending in added where !refuse(pending) {
                guard let easy = idle.popLast() ?? curl_easy_init() else {
                    pending.continuation.resume(
                        throwing: HTTPFailure(.other, "libcurl is out of memory", isTransient: false))
                    continue
                }
                let transfer = CurlTransfer(pending, easy: easy)
                guard transfer.prepare(), curl_multi_add_handle(multi, easy) == CURLM_OK else {
                    transfer.finish(throwing: HTTPFailure(.other, "libcurl refuses the request", isTransient: false))
                    curl_easy_cleanup(easy)
                    continue
                }
                transfers[easy] = transfer
            }
            for ticket in cancelled {
                guard let (easy, transfer) = transfers.first(where: { $0.value.ticket === ticket }) else { continue }
                curl_multi_remove_handle(multi, easy)
                transfers[easy] = nil
                transfer.finish(throwing: CancellationError())
                curl_easy_reset(easy)
                idle.append(easy)
            }
            failure = move(multi, &transfers, &idle)
        }
        for (easy, transfer) in transfers {
            curl_multi_remove_handle(multi, easy)
            curl_easy_cleanup(easy)
            transfer.finish(throwing: failure ?? CancellationError() as any Error)
        }
        for easy in idle { curl_easy_cleanup(easy) }
        let unheard = inbox.withLock { inbox in
            inbox.isStopped = true
            inbox.multi = nil
            defer { inbox.added = [] }
            return inbox.added
        }
        for pending in unheard { pending.continuation.resume(throwing: CancellationError()) }
        curl_multi_cleanup(multi)
    }

    /// One round: moves what can be moved, takes what is done, waits for more.
    private func move(
        _ multi: UnsafeMutableRawPointer?, _ transfers: inout [UnsafeMutableRawPointer: CurlTransfer],
        _ idle: inout [UnsafeMutableRawPointer]
    ) -> HTTPFailure? {
        var running: Int32 = 0
        var code = curl_multi_perform(multi, &running)
        var waiting: Int32 = 0
        while let message = curl_multi_info_read(multi, &waiting) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            let result = message.pointee.data.result
            curl_multi_remove_handle(multi, easy)
            guard let transfer = transfers.removeValue(forKey: easy) else { continue }
            let cost = transfer.cost()
            inbox.withLock { inbox in
                inbox.counters.requests += 1
                inbox.counters.bodyBytesReceived += cost.bodyBytesReceived
                inbox.counters.connectionsMade += cost.connectionsMade
            }
            transfer.finish(result)
            // It still points to what the transfer owns.
            curl_easy_reset(easy)
            idle.append(easy)
        }
        if code == CURLM_OK { code = curl_multi_poll(multi, nil, 0, 1000, nil) }
        guard code != CURLM_OK else { return nil }
        return HTTPFailure(.other, "libcurl gave up: \(String(cString: curl_multi_strerror(code)))", isTransient: false)
    }

    private func takeInbox() -> ([PendingTransfer], [TransferTicket], Bool) {
        inbox.withLock { inbox in
            defer {
                inbox.added = []
                inbox.cancelled = []
            }
            return (inbox.added, inbox.cancelled, inbox.isStopped)
        }
    }

    /// Whether its task gave it up before it came here.
    private func refuse(_ pending: PendingTransfer) -> Bool {
        guard pending.ticket.isCancelled else { return false }
        pending.continuation.resume(throwing: CancellationError())
        return true
    }
}
