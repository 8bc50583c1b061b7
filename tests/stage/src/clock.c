/* The wall clock of a program under test, read from a file that the test writes.
 *
 * Preloaded into a Redis server. The file named by STAGE_CLOCK_FILE holds two 64-bit
 * integers in microseconds: a frozen time (0: not frozen) and an offset to the machine's
 * clock. Clocks other than the wall clock stay real, so the server's own timers run. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *page;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("STAGE_CLOCK_FILE");
    if (!path) return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) _exit(112);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) _exit(112);
    page = mapped;
    close(fd);
}

static int64_t now_us(void) {
    if (page && page[0]) return page[0];
    /* The system call itself: it needs no look-up of the function that this one hides. */
    struct timespec real;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
    int64_t us = (int64_t)real.tv_sec * 1000000 + real.tv_nsec / 1000;
    return page ? us + page[1] : us;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, clock, out);
    int64_t us = now_us();
    out->tv_sec = us / 1000000;
    out->tv_nsec = us % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    (void)zone;
    int64_t us = now_us();
    out->tv_sec = us / 1000000;
    out->tv_usec = us % 1000000;
    return 0;
}

time_t time(time_t *out) {
    time_t seconds = now_us() / 1000000;
    if (out) *out = seconds;
    return seconds;
}
