import CHost
import DrillCore
import Foundation

/// Sets up this process as a whole; `main` calls it once, before anything else. A broken pipe and a file grown past its
/// limit become errors and no longer end the process; there are no core dumps and no ptrace by others (X1); what is
/// made is our own (X9); and the standard descriptors are open, lest a file of ours becomes one of them.
package func prepareProcess() throws {
    for descriptor in Int32(0)...2 where fcntl(descriptor, F_GETFD) < 0 {
        guard open("/dev/null", O_RDWR) == descriptor else {
            throw DrillError(.couldNotLook, "cannot open /dev/null: \(errorText(errno))")
        }
    }
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    umask(0o077)
    var noCore = rlimit(rlim_cur: 0, rlim_max: 0)
    guard setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &noCore) == 0, host_hide_memory() == 0 else {
        throw DrillError(.couldNotLook, "cannot turn core dumps off: \(errorText(errno))")
    }
}
