#define _GNU_SOURCE
#include "seal.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#ifdef OWN_ARCHITECTURE

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define ANSWER(code) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (code))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
// Refuses that system call.
#define REFUSE(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), ANSWER(EACCES)

// Both architectures are little-endian: the low half of an argument comes first.
static struct sock_filter connections[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 1, 0),
    // Calls of another architecture have other numbers.
    ANSWER(ENOSYS),
    LOAD(nr),
    // The x32 calls of x86-64, numbered from 2^30 on.
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    ANSWER(ENOSYS),
    REFUSE(SYS_connect),
    REFUSE(SYS_sendmsg),
    REFUSE(SYS_sendmmsg),
    // It would connect past this filter.
    REFUSE(SYS_io_uring_setup),
    REFUSE(SYS_ptrace),
    REFUSE(SYS_process_vm_readv),
    REFUSE(SYS_process_vm_writev),
    REFUSE(SYS_pidfd_getfd),
    // sendto(2) is what send(2) is made of; only with an address does it lead elsewhere.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 1, 0),
    ALLOW,
    LOAD(args[4]),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
    ANSWER(EACCES),
    LOAD_HIGH(args[4]),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
    ANSWER(EACCES),
    ALLOW,
};

int seal_connections(void) {
    struct sock_fprog program = {sizeof connections / sizeof connections[0], connections};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

#else

int seal_connections(void) {
    errno = ENOSYS;
    return -1;
}

#endif

void scope_signals(void) {
    // landlock(7): struct landlock_ruleset_attr, of which older kernels know the first fields alone.
    struct { uint64_t files, network, scoped; } rules = {0, 0, 2 /* LANDLOCK_SCOPE_SIGNAL */};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return;
    int descriptor = (int)syscall(444 /* landlock_create_ruleset */, &rules, sizeof rules, 0U);
    if (descriptor < 0) return;
    syscall(446 /* landlock_restrict_self */, descriptor, 0U);
    close(descriptor);
}
