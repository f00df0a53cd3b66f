/* Replaces the C library's calls that change a disk, and writes each call with its data to the
 * log that POWERCUT_LOG names. Some calls go through `syscall`. With POWERCUT_DIE=PROGRAM:N, that program ends right after its
 * call number N, as by SIGKILL. recorder.rs reads the log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, SIZE, RESERVE, PUNCH, SYNC_BEGINS, SYNC_ENDS, RENAME, UNLINK, LINK, MODE,
       MTIME };

/* fchmodat2, which older headers lack. */
enum { CHMOD_AT = 452 };

struct record {
    uint32_t kind, thread;
    uint64_t inode, folder, offset, length;
    uint32_t first, second, data, good;
};

static int sink = -1;
static long left = -1; /* calls until this program ends; -1 for ever */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static __thread char thread_mark;
static long (*next_syscall)(long, ...);

__attribute__((constructor)) static void begin(void) {
    next_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    const char *path = getenv("POWERCUT_LOG"), *die = getenv("POWERCUT_DIE");
    if (!path) return;
    int opened = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (opened < 0) return;
    /* A high number, so that programs find their descriptors at the usual numbers. */
    sink = fcntl(opened, F_DUPFD_CLOEXEC, 100);
    close(opened);
    size_t name = strlen(program_invocation_short_name);
    if (die && !strncmp(die, program_invocation_short_name, name) && die[name] == ':')
        left = atol(die + name + 1);
}

static void must(int good) {
    if (!good) abort();
}

/* Appends one record. The caller holds `order`, so calls and records have the same order. */
static void say(struct record record, const char *first, const char *second, const void *data) {
    record.thread = (uint32_t)(uintptr_t)&thread_mark;
    record.first = first ? strlen(first) : 0;
    record.second = second ? strlen(second) : 0;
    struct iovec parts[] = {{&record, sizeof record},
                            {(void *)first, record.first},
                            {(void *)second, record.second},
                            {(void *)data, record.data}};
    ssize_t whole = sizeof record + record.first + record.second + record.data;
    must(writev(sink, parts, 4) == whole);
    if (left > 0 && --left == 0) _exit(9);
}

/* The record of a call on `fd`. The kind is 0 if `fd` is no file and no folder. */
static struct record about(uint32_t kind, int fd) {
    struct record record = {.good = 1};
    struct stat found;
    int kept = errno;
    if (sink >= 0 && fd != sink && !fstat(fd, &found) &&
        (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) {
        record.kind = kind;
        record.inode = found.st_ino;
    }
    errno = kept;
    return record;
}

static uint64_t inode_of(int folder) {
    struct stat found;
    return folder != AT_FDCWD && !fstat(folder, &found) ? found.st_ino : 0;
}

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t length, type offset) { \
        NEXT(name); \
        struct record record = about(WRITE, fd); \
        if (!record.kind) return next(fd, data, length, offset); \
        pthread_mutex_lock(&order); \
        ssize_t done = next(fd, data, length, offset); \
        if (done > 0) { \
            record.offset = offset; \
            record.length = record.data = done; \
            say(record, 0, 0, data); \
        } \
        pthread_mutex_unlock(&order); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, type) \
    int name(int fd, type length) { \
        NEXT(name); \
        struct record record = about(SIZE, fd); \
        if (!record.kind) return next(fd, length); \
        pthread_mutex_lock(&order); \
        int failed = next(fd, length); \
        record.length = length; \
        if (!failed) say(record, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        return failed; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define ALLOCATE(name, type) \
    int name(int fd, int mode, type offset, type length) { \
        NEXT(name); \
        struct record record = about(mode & FALLOC_FL_PUNCH_HOLE ? PUNCH : RESERVE, fd); \
        if (!record.kind) return next(fd, mode, offset, length); \
        pthread_mutex_lock(&order); \
        int failed = next(fd, mode, offset, length); \
        record.offset = offset; \
        record.length = length; \
        if (!failed) say(record, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        return failed; \
    }
ALLOCATE(fallocate, off_t)
ALLOCATE(fallocate64, off64_t)

/* Without `order`: other threads may write meanwhile. */
#define SYNC(name) \
    int name(int fd) { \
        NEXT(name); \
        struct record record = about(SYNC_BEGINS, fd); \
        if (!record.kind) return next(fd); \
        record.length = !strcmp(#name, "syncfs"); \
        record.offset = !strcmp(#name, "fdatasync"); \
        pthread_mutex_lock(&order); \
        say(record, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        int failed = next(fd); \
        int kept = errno; \
        record.kind = SYNC_ENDS; \
        record.good = !failed; \
        pthread_mutex_lock(&order); \
        say(record, 0, 0, 0); \
        pthread_mutex_unlock(&order); \
        errno = kept; \
        return failed; \
    }
SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)

/* What is new under this name; the text of a link. The caller holds `order`. */
static void made_at(int folder, const char *name, const char *text) {
    struct stat found;
    int kept = errno;
    if (sink >= 0 && !fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW)) {
        struct record record = {.kind = CREATE, .good = 1, .inode = found.st_ino};
        record.folder = inode_of(folder);
        record.offset = found.st_mode;
        record.data = text ? strlen(text) : 0;
        say(record, name, 0, text);
    }
    errno = kept;
}

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        NEXT(name); \
        struct stat found; \
        va_list rest; \
        va_start(rest, flags); \
        int made = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE; \
        mode_t mode = made ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (sink < 0 || !(flags & O_CREAT)) return next(folder, path, flags, mode); \
        pthread_mutex_lock(&order); \
        int was = !fstatat(folder, path, &found, AT_SYMLINK_NOFOLLOW); \
        int fd = next(folder, path, flags, mode); \
        int kept = errno; \
        if (fd >= 0 && !was) made_at(folder, path, 0); \
        pthread_mutex_unlock(&order); \
        errno = kept; \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

int mkdirat(int folder, const char *path, mode_t mode) {
    NEXT(mkdirat);
    pthread_mutex_lock(&order);
    int failed = next(folder, path, mode);
    if (!failed) made_at(folder, path, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

/* By a path, as the client makes the top of a tree. */
int mkdir(const char *path, mode_t mode) {
    const char *last = strrchr(path, '/');
    if (!last || sink < 0) return mkdirat(AT_FDCWD, path, mode);
    char *parent = strndup(path, last - path + 1);
    int folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(parent);
    if (folder < 0) return -1;
    int failed = mkdirat(folder, last + 1, mode), kept = errno;
    close(folder);
    errno = kept;
    return failed;
}

int symlinkat(const char *text, int folder, const char *path) {
    NEXT(symlinkat);
    pthread_mutex_lock(&order);
    int failed = next(text, folder, path);
    if (!failed) made_at(folder, path, text);
    pthread_mutex_unlock(&order);
    return failed;
}

/* The mode or the mtime that `fd` has now, or what has this name in it. */
static int dressed(uint32_t kind, int failed, int fd, const char *name) {
    struct stat found;
    int kept = errno, flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    if (!failed && sink >= 0 && !fstatat(fd, name ? name : "", &found, flags)) {
        struct record record = {.kind = kind, .good = 1, .inode = found.st_ino};
        record.offset = kind == MODE ? found.st_mode : found.st_mtim.tv_sec;
        record.length = found.st_mtim.tv_nsec;
        say(record, 0, 0, 0);
    }
    errno = kept;
    return failed;
}

int fchmod(int fd, mode_t mode) {
    NEXT(fchmod);
    pthread_mutex_lock(&order);
    int failed = dressed(MODE, next(fd, mode), fd, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int chmod(const char *path, mode_t mode) {
    NEXT(chmod);
    pthread_mutex_lock(&order);
    int failed = dressed(MODE, next(path, mode), AT_FDCWD, path);
    pthread_mutex_unlock(&order);
    return failed;
}

int futimens(int fd, const struct timespec times[2]) {
    NEXT(futimens);
    pthread_mutex_lock(&order);
    int failed = dressed(MTIME, next(fd, times), fd, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

/* A call with two names. Both are in the same folder, as these programs use it, except of a
 * link. `inode` is that of what has the first name. */
static int named(uint32_t kind, int failed, uint64_t inode, int folder, const char *first,
                 const char *second) {
    int kept = errno;
    struct record record = {.kind = kind, .good = 1, .inode = inode, .folder = inode_of(folder)};
    if (!failed && sink >= 0) say(record, first, second, 0);
    errno = kept;
    return failed;
}

static uint64_t inode_at(int folder, const char *name) {
    struct stat found;
    int kept = errno;
    uint64_t inode =
        sink >= 0 && !fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) ? found.st_ino : 0;
    errno = kept;
    return inode;
}

int renameat(int from, const char *old, int to, const char *new) {
    NEXT(renameat);
    pthread_mutex_lock(&order);
    uint64_t inode = inode_at(from, old);
    int failed = named(RENAME, next(from, old, to, new), inode, to, old, new);
    pthread_mutex_unlock(&order);
    return failed;
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    NEXT(linkat);
    pthread_mutex_lock(&order);
    int failed = next(from, old, to, new, flags);
    named(LINK, failed, failed ? 0 : inode_at(to, new), to, old, new);
    pthread_mutex_unlock(&order);
    return failed;
}

int unlinkat(int folder, const char *name, int flags) {
    NEXT(unlinkat);
    pthread_mutex_lock(&order);
    uint64_t inode = inode_at(folder, name);
    int failed = named(UNLINK, next(folder, name, flags), inode, folder, name, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

/* What no function of the C library does. Other numbers are passed on. */
long syscall(long number, ...) {
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    if (sink < 0 || (number != SYS_renameat2 && number != SYS_utimensat && number != CHMOD_AT))
        return next_syscall(number, a, b, c, d, e, f);
    pthread_mutex_lock(&order);
    uint64_t inode = number == SYS_renameat2 ? inode_at(a, (const char *)b) : 0;
    int failed = next_syscall(number, a, b, c, d, e, f);
    if (number == SYS_renameat2)
        named(RENAME, failed, inode, c, (const char *)b, (const char *)d);
    else
        dressed(number == SYS_utimensat ? MTIME : MODE, failed, a, (const char *)b);
    pthread_mutex_unlock(&order);
    return failed;
}
