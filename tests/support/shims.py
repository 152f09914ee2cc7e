"""Shims: small C libraries that stand before the C library's own functions in a process (LD_PRELOAD)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAME_SERVER_THAT_SWALLOWS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!real) real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strstr(node, "swallowed.example")) { sleep(40); return EAI_AGAIN; }
    return real(node, service, hints, res);
}
"""

# Below what LLMPT_TEST_FAILS begins: no entry of a folder has a type; a path with "stat" fails there at stat, with "readdir" at
# reading a folder, with "open" at opening; a blob of "stale" fails at stat, too, and one of "eio-read" whose
# etag begins with 0 at its reading. The very path itself fails at everything.
FAILING_MOUNT = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int below(const char *path, const char *how) {
    const char *top = getenv("LLMPT_TEST_FAILS");
    if (!top || !path || strncmp(path, top, strlen(top))) return 0;
    return !strcmp(path, top) || !how[0] || strstr(path + strlen(top), how) != NULL;
}
static int fails(int fd, const char *path, const char *how) {
    char link[64], full[4096];
    if (path && path[0] == '/') return below(path, how);
    if (fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, full, sizeof full - 1);
    if (size < 0) return 0;
    full[size] = 0;
    return below(full, how);
}
static int stale(int fd, const char *path) { return fails(fd, path, "stat") || fails(fd, path, "stale/blobs/"); }
#define NO(error) do { errno = error; return -1; } while (0)
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

#define STAT(name) int name(const char *path, struct stat64 *facts) { \
    REAL(int, #name, const char *, struct stat64 *); if (stale(-1, path)) NO(ESTALE); return real(path, facts); }
STAT(stat64)
STAT(lstat64)
int fstatat64(int fd, const char *path, struct stat64 *facts, int flags) {
    REAL(int, "fstatat64", int, const char *, struct stat64 *, int);
    if (stale(fd, path)) NO(ESTALE);
    return real(fd, path, facts, flags);
}
int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...);
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest);
    if (fails(-1, path, "open")) NO(EIO);
    return real(path, flags, mode);
}
DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    if (fails(-1, path, "readdir")) { errno = EACCES; return NULL; }
    return real(path);
}
struct dirent64 *readdir64(DIR *folder) {
    REAL(struct dirent64 *, "readdir64", DIR *);
    struct dirent64 *entry = real(folder);
    if (entry && fails(dirfd(folder), NULL, "")) entry->d_type = DT_UNKNOWN;
    return entry;
}
ssize_t read(int fd, void *into, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    if (fails(fd, NULL, "eio-read/blobs/0")) NO(EIO);
    return real(fd, into, size);
}
"""

# The time of day is as many seconds off as the file LLMPT_TEST_CLOCK says at that moment; clocks that only run on are not.
CLOCK_THAT_IS_SET = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *name = getenv("LLMPT_TEST_CLOCK");
    int file = clock == CLOCK_REALTIME && name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return result;
    char text[32];
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size > 0) { text[size] = 0; now->tv_sec += atol(text); }
    return result;
}
"""


def shim(source: str, folder: Path) -> str:
    """Compile a shim; return what LD_PRELOAD is to be. Skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    written, made = folder / "shim.c", folder / "shim.so"
    written.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(written), "-ldl"], check=True, timeout=60)
    return str(made)
