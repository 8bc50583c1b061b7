/* The disk of a program under test: as slow as the test wants, and with a note of what is on
 * it for sure.
 *
 * Preloaded into a Redis server that appends to one log. The file named by STAGE_DISK_FILE
 * holds four 64-bit integers: how much longer a sync takes, in microseconds, written by the
 * test; the log's length at the last sync that ended; when the last write before that sync
 * had ended; and when the last write of all had. Times are of the monotonic clock, in
 * nanoseconds. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DELAY_US, SYNCED_BYTES, SYNCED_NS, WRITTEN_NS };

static _Atomic int64_t *page;
static atomic_int log_fd = -1;

__attribute__((constructor)) static void open_disk(void) {
    const char *path = getenv("STAGE_DISK_FILE");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) _exit(113);
    void *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) _exit(113);
    page = mapped;
    close(fd);
    /* What an earlier process wrote last says nothing of this one. */
    page[WRITTEN_NS] = 0;
}

static int is_log(int fd) {
    static const char ending[] = ".incr.aof";
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    ssize_t of_ending = sizeof ending - 1;
    return length >= of_ending && !memcmp(path + length - of_ending, ending, of_ending);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (page && log_fd < 0 && is_log(fd)) log_fd = fd;
    ssize_t written = syscall(SYS_write, fd, bytes, count);
    if (page && fd == log_fd && written > 0) page[WRITTEN_NS] = now_ns();
    return written;
}

int fdatasync(int fd) {
    if (!page || !is_log(fd)) return (int)syscall(SYS_fdatasync, fd);
    /* In this order: what is written between the two is synced and counts as not. */
    int64_t written_ns = page[WRITTEN_NS];
    struct stat log;
    if (fstat(fd, &log)) return -1;
    int failed = (int)syscall(SYS_fdatasync, fd);
    int64_t delay_us = page[DELAY_US];
    if (delay_us) {
        struct timespec delay = { delay_us / 1000000, delay_us % 1000000 * 1000 };
        nanosleep(&delay, NULL);
    }
    if (!failed) {
        page[SYNCED_BYTES] = log.st_size;
        /* This process has written nothing yet. */
        if (written_ns) page[SYNCED_NS] = written_ns;
    }
    return failed;
}
