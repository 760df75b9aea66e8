#define _GNU_SOURCE
#include "CHost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int host_open_at(int directory, const char *name, int flags, mode_t mode) {
    return openat(directory, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
}

int host_open_directory_at(int directory, const char *name) {
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
    };
    int descriptor = (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
    if (descriptor >= 0 || (errno != ENOSYS && errno != EPERM)) return descriptor;
    // Before Linux 5.6, or where a filter forbids the call: a mount is then known by its device alone.
    struct stat outside, inside;
    descriptor = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0) return -1;
    int error = fstat(directory, &outside) != 0 || fstat(descriptor, &inside) != 0 ? errno : 0;
    if (error == 0 && outside.st_dev != inside.st_dev) error = EXDEV;
    if (error == 0) return descriptor;
    close(descriptor);
    errno = error;
    return -1;
}
