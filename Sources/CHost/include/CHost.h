// System calls that Swift cannot make itself: what stands between fork and exec, and variadic functions.
#ifndef MUSTER_CHOST_H
#define MUSTER_CHOST_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

enum host_network { HOST_NETWORK_SHARED, HOST_NETWORK_SEALED, HOST_NETWORK_SEALED_IN_USER_NAMESPACE };

// Which call in the child failed, for the message.
enum host_step {
    HOST_STEP_NONE, HOST_STEP_FORK, HOST_STEP_DESCRIPTORS, HOST_STEP_NETWORK, HOST_STEP_USER, HOST_STEP_DIRECTORY,
    HOST_STEP_CONNECTIONS, HOST_STEP_EXECUTE
};

struct host_child {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const char *directory;  // NULL: where this process is
    int input, output, errors;
    int changes_user;
    uid_t user;
    gid_t group;
    const gid_t *groups;
    size_t group_count;
    int network;  // enum host_network
    // What HOST_NETWORK_SEALED_IN_USER_NAMESPACE writes to /proc/self/uid_map and gid_map.
    const char *user_map;
    const char *group_map;
    // Whether it and all that it starts may connect nowhere and send to no address, whatever the network.
    int seals_connections;
};

// Starts a child in a process group of its own, with the three descriptors and no other, signals at their defaults, and
// SIGKILL due to it when the calling *thread* ends. All signals must be blocked in the calling thread.
// Returns its pid once the program runs, else -1 with errno and the step that failed.
pid_t host_spawn(const struct host_child *child, int *failed_step);

// A pipe whose ends are closed on exec.
int host_pipe(int ends[2]);
int host_set_nonblocking(int descriptor);
// A descriptor that polls readable once the process has ended, or -1 (before Linux 5.3).
int host_process_descriptor(pid_t pid);
// Whether the child has ended; it stays a zombie, so its pid and process group still name it.
int host_has_ended(pid_t pid);
// Whether a child sealed like that one reaches a stream socket at that address: 1 yes, 0 no, -1 with errno and the step that
// failed.
int host_reaches(const struct host_child *child, const struct sockaddr *address, socklen_t length, int *failed_step);
// No core dumps of this process and no ptrace by others of the same user (X1).
int host_hide_memory(void);

// Opens what stands directly in a directory, never through a link; O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added.
int host_open_at(int directory, const char *name, int flags, mode_t mode);
// Opens a directory that stands directly in another one, neither through a link nor into another mount (EXDEV).
int host_open_directory_at(int directory, const char *name);

// Begins to load what lies there into the processor's cache.
static inline void host_prefetch(const void *address) { __builtin_prefetch(address); }

#endif
