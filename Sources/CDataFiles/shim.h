// File system calls of Linux that Swift cannot import, for copying data directories. Each returns -1 with errno.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Opens a file, or with O_DIRECTORY a directory, to read it without a trace in its access time where that is allowed. Never
// follows a last symbolic link.
static inline int df_open_source(const char *path, int flags) {
    flags |= O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int descriptor = open(path, flags | 01000000 /* O_NOATIME */);
    // Only the owner and root may leave it alone.
    return descriptor < 0 && errno == EPERM ? open(path, flags) : descriptor;
}

// ioctl_ficlone(2): the whole file, its blocks shared.
static inline int df_clone(int from, int to) { return ioctl(to, 0x40049409 /* FICLONE */, from); }

// copy_file_range(2): goes on where both descriptors stand; 0 at the end.
static inline int64_t df_copy(int from, int to, int64_t count) {
    return (int64_t)syscall(SYS_copy_file_range, from, (int64_t *)0, to, (int64_t *)0, (size_t)count, 0U);
}

// lseek(2): the start of the next data, or of the next hole.
static inline int64_t df_next_data(int descriptor, int64_t offset) { return lseek(descriptor, offset, 3 /* SEEK_DATA */); }
static inline int64_t df_next_hole(int descriptor, int64_t offset) { return lseek(descriptor, offset, 4 /* SEEK_HOLE */); }
