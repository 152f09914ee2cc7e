/* flock(2) as some network file systems have it, below the folder LOCKLESS_BELOW: it fails with the error LOCKLESS_ERRNO, or,
   where that is 0, is granted to all. Everywhere else it is the kernel's. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock(int descriptor, int operation)
{
    char link[64], path[4096];
    const char *below = getenv("LOCKLESS_BELOW"), *error = getenv("LOCKLESS_ERRNO");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path);
    if (below && error && length > 0 && (size_t)length >= strlen(below) && !strncmp(path, below, strlen(below))) {
        if (!atoi(error))
            return 0;
        errno = atoi(error);
        return -1;
    }
    return syscall(SYS_flock, descriptor, operation);
}
