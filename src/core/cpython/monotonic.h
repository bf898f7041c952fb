/* Reads the clocks of the system: the one that `time.perf_counter_ns` reads, and the calling thread's CPU clock. */
#ifndef FGTRACE_CPYTHON_MONOTONIC_H
#define FGTRACE_CPYTHON_MONOTONIC_H

#include <stdint.h>
#include <time.h>

/* Return the time, in ns, on the clock that `time.perf_counter_ns` reads. */
static inline int64_t
now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Return the CPU time, in ns, that the calling thread has used. */
static inline int64_t
own_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

#endif
