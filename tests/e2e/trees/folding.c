/* A file system that finds a name under every spelling that differs by case, and keeps the
 * spelling with which the name was made. Absolute paths are as they are. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int open_at(int folder, const char *name, int flags) {
    NEXT(openat);
    return next(folder, name, flags | O_CLOEXEC);
}

/* Writes the spelling of one name that is in the folder to `to`; else the name itself. */
static void spell(int folder, const char *name, size_t length, char *to) {
    memcpy(to, name, length);
    to[length] = 0;
    int listed = open_at(folder, ".", O_RDONLY | O_DIRECTORY);
    DIR *listing = listed < 0 ? 0 : fdopendir(listed);
    char other[256] = "";
    struct dirent *entry;
    while (listing && (entry = readdir(listing))) {
        if (!strcmp(entry->d_name, to)) { other[0] = 0; break; }
        if (!strcasecmp(entry->d_name, to)) strcpy(other, entry->d_name);
    }
    if (listing) closedir(listing);
    if (other[0]) strcpy(to, other);
}

/* The path as it is spelled here. `to` has room for 4096 bytes. */
static const char *spelled(int folder, const char *path, char *to) {
    if (path[0] == '/' || path[0] == 0 || !strcmp(path, ".")) return path;
    int kept = errno, at = folder;
    char *end = to;
    while (*path) {
        size_t length = strcspn(path, "/");
        spell(at, path, length, end);
        int below = path[length] ? open_at(at, end, O_PATH | O_DIRECTORY) : -1;
        end += strlen(end);
        if (at != folder) close(at);
        at = below;
        path += length;
        if (*path == '/') *end++ = *path++;
        if (at < 0) {
            strcpy(end, path);
            break;
        }
    }
    if (at >= 0 && at != folder) close(at);
    errno = kept;
    return to;
}

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        NEXT(name); \
        char to[4096]; \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return next(folder, spelled(folder, path, to), flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int mkdirat(int folder, const char *name, mode_t mode) {
    NEXT(mkdirat);
    char to[4096];
    return next(folder, spelled(folder, name, to), mode);
}

int symlinkat(const char *text, int folder, const char *name) {
    NEXT(symlinkat);
    char to[4096];
    return next(text, folder, spelled(folder, name, to));
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    NEXT(linkat);
    char first[4096], second[4096];
    return next(from, spelled(from, old, first), to, spelled(to, new, second), flags);
}

int unlinkat(int folder, const char *name, int flags) {
    NEXT(unlinkat);
    char to[4096];
    return next(folder, spelled(folder, name, to), flags);
}

int renameat(int from, const char *old, int to, const char *new) {
    NEXT(renameat);
    char first[4096], second[4096];
    return next(from, spelled(from, old, first), to, spelled(to, new, second));
}

ssize_t readlinkat(int folder, const char *name, char *text, size_t room) {
    NEXT(readlinkat);
    char to[4096];
    return next(folder, spelled(folder, name, to), text, room);
}

int fstatat64(int folder, const char *name, struct stat64 *found, int flags) {
    NEXT(fstatat64);
    char to[4096];
    return next(folder, spelled(folder, name, to), found, flags);
}

/* The calls that these programs make without a function of the C library. */
long syscall(long number, ...) {
    NEXT(syscall);
    char first[4096], second[4096];
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    switch (number) {
    case SYS_renameat2:
        d = (long)spelled(c, (const char *)d, second); /* fall through */
    case SYS_statx:
    case SYS_openat2:
    case SYS_utimensat:
    case SYS_faccessat:
        b = (long)spelled(a, (const char *)b, first);
    }
    return next(number, a, b, c, d, e, f);
}
