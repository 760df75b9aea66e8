// What a sealed child does to itself before it becomes its program. Async-signal-safe: for between fork and exec.
#ifndef MUSTER_CHOST_SEAL_H
#define MUSTER_CHOST_SEAL_H

// No way out of this process and of all that it starts: no connection and no datagram to any address, Unix sockets of other
// servers included, which no network namespace keeps apart; and no hand on other processes' memory. 0, or -1 with errno.
int seal_connections(void);

// No signal to a process outside, though it may be the same user's, where the kernel can do that (Linux 6.12).
void scope_signals(void);

#endif
