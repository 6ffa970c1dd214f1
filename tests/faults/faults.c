/* Preloaded into the program, makes calls to the system fail. The environment tells which and how:
 *   FAULT_AT   the number of the call, counted from 1; 0: every call that can
 *   FAULT_HOW  the name of an error (ENOSPC, EIO, EINTR); FULL: ENOSPC from that call on, of calls that take space; SHORT: part of what is
 *              asked for; KILL: the process ends before the call
 *   FAULT_LOG  a file that is told the calls that were met, a line each, when the process ends
 * Counted are calls by which the program opens, reads, writes and names files; those of the C library itself are not seen. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { TAKES_SPACE = 1, TRANSFERS = 2, INTERRUPTIBLE = 4 };

static atomic_long calls;
static long at = -1;
static const char *how = "";
static FILE *record;

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("FAULT_LOG");
    if (getenv("FAULT_AT")) at = atol(getenv("FAULT_AT"));
    if (getenv("FAULT_HOW")) how = getenv("FAULT_HOW");
    if (log) record = fopen(log, "w");
    /* A thread of the program may still run while the process ends. */
    if (record) setvbuf(record, NULL, _IOLBF, 0);
}

/* Whether this call fails (-1, and errno), gets less than it asks for (1), or is left alone (0). */
static int fault(const char *name, int kind) {
    long call = atomic_fetch_add(&calls, 1) + 1;
    int here = call == at, all = at == 0;
    if (record) fprintf(record, "%s\n", name);
    if (!strcmp(how, "KILL")) {
        if (here) kill(getpid(), SIGKILL);
        return 0;
    }
    if (!strcmp(how, "SHORT")) return (here || all) && (kind & TRANSFERS);
    if (!strcmp(how, "FULL")) {
        errno = ENOSPC;
        return at > 0 && call >= at && (kind & TAKES_SPACE) ? -1 : 0;
    }
    errno = !strcmp(how, "ENOSPC") ? ENOSPC : !strcmp(how, "EINTR") ? EINTR : EIO;
    /* Of all calls every second one: who tries again gets on. */
    if (errno == EINTR) return (kind & INTERRUPTIBLE) && (here || (all && call % 2)) ? -1 : 0;
    return here ? -1 : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PLAIN(result, name, kind, parameters, arguments)          \
    result name parameters {                                      \
        return fault(#name, kind) < 0 ? -1 : REAL(name) arguments; \
    }

PLAIN(int, close, 0, (int fd), (fd))
PLAIN(int, fsync, TAKES_SPACE | INTERRUPTIBLE, (int fd), (fd))
PLAIN(int, fchmod, INTERRUPTIBLE, (int fd, mode_t mode), (fd, mode))
PLAIN(int, ftruncate64, TAKES_SPACE | INTERRUPTIBLE, (int fd, off64_t length), (fd, length))
PLAIN(off64_t, lseek64, 0, (int fd, off64_t to, int from), (fd, to, from))
PLAIN(int, mkdir, TAKES_SPACE, (const char *path, mode_t mode), (path, mode))
PLAIN(int, rename, TAKES_SPACE, (const char *from, const char *to), (from, to))
PLAIN(int, statx, 0, (int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict found),
      (fd, path, flags, mask, found))
PLAIN(int, unlink, 0, (const char *path), (path))

char *realpath(const char *restrict path, char *restrict into) {
    return fault("realpath", 0) < 0 ? NULL : REAL(realpath)(path, into);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    int kind = INTERRUPTIBLE | (flags & O_CREAT ? TAKES_SPACE : 0);
    return fault("open64", kind) < 0 ? -1 : REAL(open64)(path, flags, mode);
}

/* At least a byte, for nothing at all would be the end. */
static size_t less(size_t length) { return length > 1 ? length / 2 : length; }

ssize_t read(int fd, void *bytes, size_t length) {
    int found = fault("read", TRANSFERS | INTERRUPTIBLE);
    return found < 0 ? -1 : REAL(read)(fd, bytes, found ? less(length) : length);
}

/* A full disk is none of the terminal's. */
static int kind_of_write(int fd) { return TRANSFERS | INTERRUPTIBLE | (fd > STDERR_FILENO ? TAKES_SPACE : 0); }

ssize_t write(int fd, const void *bytes, size_t length) {
    int found = fault("write", kind_of_write(fd));
    return found < 0 ? -1 : REAL(write)(fd, bytes, found ? less(length) : length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    int found = fault("writev", kind_of_write(fd));
    return found < 0 ? -1 : REAL(writev)(fd, parts, found && count > 1 ? count / 2 : count);
}
