/* Replaces the C library's calls that change a disk, and writes each call with its data to the
 * log that POWERCUT_LOG names. With POWERCUT_DIE=PROGRAM:N, that program ends right after its
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
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, SIZE, RESERVE, PUNCH, SYNC_BEGINS, SYNC_ENDS, RENAME, UNLINK, LINK };

struct record {
    uint32_t kind, thread;
    uint64_t inode, folder, offset, length;
    uint32_t first, second, data, good;
};

static int sink = -1;
static long left = -1; /* calls until this program ends; -1 for ever */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static __thread char thread_mark;

__attribute__((constructor)) static void begin(void) {
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
        struct record record = {.good = 1}; \
        if (fd >= 0 && !was && (record = about(CREATE, fd)).kind) { \
            record.folder = inode_of(folder); \
            say(record, path, 0, 0); \
        } \
        pthread_mutex_unlock(&order); \
        errno = kept; \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

/* A call with two names. Both are in the same folder, as these programs use it. */
static int named(uint32_t kind, int failed, int folder, const char *first, const char *second) {
    int kept = errno;
    struct record record = {.kind = kind, .good = 1, .folder = inode_of(folder)};
    if (!failed && sink >= 0) say(record, first, second, 0);
    errno = kept;
    return failed;
}

int renameat(int from, const char *old, int to, const char *new) {
    NEXT(renameat);
    pthread_mutex_lock(&order);
    int failed = named(RENAME, next(from, old, to, new), to, old, new);
    pthread_mutex_unlock(&order);
    return failed;
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    NEXT(renameat2);
    pthread_mutex_lock(&order);
    int failed = named(RENAME, next(from, old, to, new, flags), to, old, new);
    pthread_mutex_unlock(&order);
    return failed;
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    NEXT(linkat);
    pthread_mutex_lock(&order);
    int failed = named(LINK, next(from, old, to, new, flags), to, old, new);
    pthread_mutex_unlock(&order);
    return failed;
}

int unlinkat(int folder, const char *name, int flags) {
    NEXT(unlinkat);
    pthread_mutex_lock(&order);
    int failed = named(UNLINK, next(folder, name, flags), folder, name, 0);
    pthread_mutex_unlock(&order);
    return failed;
}
