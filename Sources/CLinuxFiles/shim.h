// File system calls of Linux that Swift cannot import: variadic ones and those behind _GNU_SOURCE. Each returns -1 with errno.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

// open(2): these need _GNU_SOURCE in glibc.
enum { LF_NOATIME = 01000000, LF_PATH = 010000000, LF_TMPFILE = 020000000 | O_DIRECTORY };

// openat2(2), Linux 5.6: never above `directory`, through no symbolic link. ENOSYS or EPERM (seccomp) where there is none.
static inline int lf_open_beneath(int directory, const char *path, int flags) {
    struct { uint64_t flags, mode, resolve; } how = {(uint64_t)flags, 0, 0x02 /* NO_MAGICLINKS */ | 0x04 /* NO_SYMLINKS */ | 0x08 /* BENEATH */};
    return (int)syscall(437 /* SYS_openat2, the same on every architecture */, directory, path, &how, sizeof how);
}

static inline int lf_open_at(int directory, const char *path, int flags, unsigned mode) {
    return openat(directory, path, flags, mode);
}

// What statx(2) tells, times in microseconds since 1970; `born` is INT64_MIN where the file system keeps none.
struct lf_status {
    int64_t size, modified, changed, born;
    uint32_t mode, user;
};

static inline int64_t lf_microseconds(struct statx_timestamp time) {
    return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

// An empty `name` is `directory` itself. A last symbolic link is never followed.
static inline int lf_status_at(int directory, const char *name, struct lf_status *status) {
    struct statx found;
    int flags = 0x100 /* AT_SYMLINK_NOFOLLOW */ | 0x1000 /* AT_EMPTY_PATH */ | 0x800 /* AT_NO_AUTOMOUNT */;
    if (syscall(SYS_statx, directory, name, flags, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) return -1;
    status->size = (int64_t)found.stx_size;
    status->modified = lf_microseconds(found.stx_mtime);
    status->changed = lf_microseconds(found.stx_ctime);
    status->born = (found.stx_mask & STATX_BTIME) && found.stx_btime.tv_sec > 0 ? lf_microseconds(found.stx_btime) : INT64_MIN;
    status->mode = found.stx_mode;
    status->user = found.stx_uid;
    return 0;
}

// getdents64(2): whole records; 0 at the end.
static inline long lf_read_entries(int directory, void *buffer, size_t size) {
    return syscall(SYS_getdents64, directory, buffer, size);
}

// Where the fields of such a record are: a length of 16 bits, a type of 8 bits (DT_REG …), and a name that ends in NUL.
enum { LF_ENTRY_LENGTH = 16, LF_ENTRY_TYPE = 18, LF_ENTRY_NAME = 19 };

// Whether names in that directory are known to be told apart by their bytes alone: 0 where the file system may fold case or
// normalise Unicode, as FAT, NTFS, HFS+, CIFS, some ZFS and directories of ext4 with the casefold flag do.
static inline int lf_names_are_bytes(int directory) {
    struct statfs system;
    int attributes = 0;
    if (fstatfs(directory, &system) != 0) return 0;
    if (ioctl(directory, 0x80086601 /* FS_IOC_GETFLAGS */, &attributes) == 0 && (attributes & 0x40000000 /* FS_CASEFOLD_FL */))
        return 0;
    switch ((uint32_t)system.f_type) {
    case 0xEF53: case 0x58465342: case 0x9123683E: case 0x01021994: case 0xF2F52010: case 0x794C7630: case 0x6969:
    case 0x00C36400:  // ext, XFS, Btrfs, tmpfs, F2FS, overlayfs, NFS, CephFS
        return 1;
    default:
        return 0;
    }
}
