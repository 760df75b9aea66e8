#define _GNU_SOURCE
#include "CHost.h"
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define CLOSE_ON_EXEC_ALL (1U << 2)

struct failure { int step; int error; };

// Everything from here to host_spawn runs in the child of a process with threads: async-signal-safe calls only.

static int write_whole(const char *path, const char *text) {
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return -1;
    size_t length = strlen(text);
    ssize_t written = write(descriptor, text, length);
    int error = errno;
    close(descriptor);
    errno = error;
    return written == (ssize_t)length ? 0 : -1;
}

static int place_descriptors(const struct host_child *child, int *report) {
    // First above the three, lest one of them is overwritten before it is copied.
    int moved[3];
    const int given[3] = {child->input, child->output, child->errors};
    for (int i = 0; i < 3; i++) {
        moved[i] = fcntl(given[i], F_DUPFD_CLOEXEC, 3);
        if (moved[i] < 0) return -1;
    }
    if (*report < 3) {
        int above = fcntl(*report, F_DUPFD_CLOEXEC, 3);
        if (above < 0) return -1;
        *report = above;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(moved[i], i) < 0) return -1;
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_ON_EXEC_ALL) == 0) return 0;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
    for (rlim_t descriptor = 3; descriptor < limit.rlim_max && descriptor < 1 << 20; descriptor++)
        fcntl((int)descriptor, F_SETFD, FD_CLOEXEC);
    return 0;
}

// The namespace's own loopback: a server of a sealed child may use it, and it leads nowhere else.
static int raise_loopback(void) {
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP;
    int result = ioctl(descriptor, SIOCSIFFLAGS, &request);
    int error = errno;
    close(descriptor);
    errno = error;
    return result;
}

static int seal_network(const struct host_child *child) {
    if (child->network == HOST_NETWORK_SHARED) return 0;
    if (child->network == HOST_NETWORK_SEALED) return unshare(CLONE_NEWNET) == 0 ? raise_loopback() : -1;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return -1;
    // The maps below /proc/self belong to root while this process hides its memory.
    if (prctl(PR_SET_DUMPABLE, 1) != 0) return -1;
    if (write_whole("/proc/self/setgroups", "deny") != 0 && errno != ENOENT) return -1;
    if (write_whole("/proc/self/uid_map", child->user_map) != 0) return -1;
    if (write_whole("/proc/self/gid_map", child->group_map) != 0) return -1;
    return raise_loopback();
}

static int become_user(const struct host_child *child) {
    if (!child->changes_user) return 0;
    if (setgroups(child->group_count, child->groups) != 0) return -1;
    if (setresgid(child->group, child->group, child->group) != 0) return -1;
    if (setresuid(child->user, child->user, child->user) != 0) return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void default_signals(void) {
    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++)
        if (number != SIGKILL && number != SIGSTOP) sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// A script that was written a moment ago counts as busy while another child, forked meanwhile, still holds the descriptor that it
// was written by; that child's own execve closes it.
static void execute(const struct host_child *child) {
    const struct timespec pause = {0, 10 * 1000 * 1000};
    for (int attempt = 0; attempt < 200; attempt++) {
        execve(child->path, child->arguments, child->environment);
        if (errno != ETXTBSY) return;
        nanosleep(&pause, NULL);
        errno = ETXTBSY;
    }
}

static void run_child(const struct host_child *child, pid_t parent, int report) {
    int step = HOST_STEP_DESCRIPTORS;
    if (setpgid(0, 0) != 0 || place_descriptors(child, &report) != 0) goto failed;
    step = HOST_STEP_NETWORK;
    if (seal_network(child) != 0) goto failed;
    step = HOST_STEP_USER;
    if (become_user(child) != 0) goto failed;
    step = HOST_STEP_DIRECTORY;
    if (child->directory && chdir(child->directory) != 0) goto failed;
    step = HOST_STEP_CONNECTIONS;
    if (child->seals_connections) {
        scope_signals();
        if (seal_connections() != 0) goto failed;
    }
    step = HOST_STEP_EXECUTE;
    // After the change of user, which clears it. The parent may have gone before it was set.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) goto failed;
    if (getppid() != parent) _exit(127);
    default_signals();
    execute(child);
failed:;
    struct failure failure = {step, errno};
    ssize_t ignored = write(report, &failure, sizeof failure);
    (void)ignored;
    _exit(127);
}

pid_t host_spawn(const struct host_child *child, int *failed_step) {
    int report[2];
    *failed_step = HOST_STEP_FORK;
    if (host_pipe(report) != 0) return -1;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) run_child(child, parent, report[1]);
    int error = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        errno = error;
        return -1;
    }
    struct failure failure;
    ssize_t count;
    do count = read(report[0], &failure, sizeof failure);
    while (count < 0 && errno == EINTR);
    close(report[0]);
    if (count == 0) {
        *failed_step = HOST_STEP_NONE;
        return pid;
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
    *failed_step = count == sizeof failure ? failure.step : HOST_STEP_EXECUTE;
    errno = count == sizeof failure ? failure.error : EIO;
    return -1;
}

int host_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int host_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? -1 : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

int host_process_descriptor(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int host_has_ended(pid_t pid) {
    siginfo_t information;
    information.si_pid = 0;
    return waitid(P_PID, (id_t)pid, &information, WEXITED | WNOHANG | WNOWAIT) == 0 && information.si_pid == pid;
}

static void run_connect(const struct host_child *child, const struct sockaddr *address, socklen_t length, int report) {
    struct failure answer = {HOST_STEP_NETWORK, 0};
    if (seal_network(child) != 0) {
        answer.error = errno;
    } else if (child->seals_connections && seal_connections() != 0) {
        answer.step = HOST_STEP_CONNECTIONS;
        answer.error = errno;
    } else {
        int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        answer.step = HOST_STEP_NONE;
        answer.error = descriptor >= 0 && connect(descriptor, address, length) == 0;
    }
    ssize_t ignored = write(report, &answer, sizeof answer);
    (void)ignored;
    _exit(0);
}

int host_reaches(const struct host_child *child, const struct sockaddr *address, socklen_t length, int *failed_step) {
    int report[2];
    *failed_step = HOST_STEP_FORK;
    if (host_pipe(report) != 0) return -1;
    pid_t pid = fork();
    if (pid == 0) run_connect(child, address, length, report[1]);
    int error = errno;
    close(report[1]);
    struct failure answer;
    ssize_t count = -1;
    if (pid > 0) {
        do count = read(report[0], &answer, sizeof answer);
        while (count < 0 && errno == EINTR);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
    }
    close(report[0]);
    if (count != sizeof answer) {
        errno = pid < 0 ? error : EIO;
        return -1;
    }
    *failed_step = answer.step;
    if (answer.step == HOST_STEP_NONE) return answer.error;
    errno = answer.error;
    return -1;
}

int host_hide_memory(void) { return prctl(PR_SET_DUMPABLE, 0); }
