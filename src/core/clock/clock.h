/* The clock: a native thread that keeps the time without the GIL. */
#ifndef FGTRACE_CLOCK_CLOCK_H
#define FGTRACE_CLOCK_CLOCK_H

#include "tables/pace.h"
#include "tables/tables.h"

#pragma GCC visibility push(hidden)

#define BURST 10000000 /* ns that ticks may overdraw their budget at once */

typedef struct Clock Clock;

typedef struct { /* what a clock has done; it knows neither what a tick is, nor of whom */
    /* With the GIL: take a tick now, which was due at another time; both are of the trace's clock. */
    void (*tick)(void *of, int64_t due, int64_t now);
    void (*catch_up)(void *of, int64_t now); /* with the GIL: look only for what no tick has reached yet */
    bool (*is_behind)(const void *of);       /* whether there is such; without the GIL, as all that follow */
    bool (*has_work)(const void *of);        /* whether there is something for `clock_wait` to return for */
    bool (*spill)(void *of);                 /* write what exceeds the memory; false: there will never be any */
} ClockJobs;

Clock *clock_new(Tables *tables, Pace *pace, const ClockJobs *jobs, void *of, double max_overhead);
void clock_free(Clock *clock);
int clock_run(Clock *clock);
void clock_halt(Clock *clock);
int clock_wait(Clock *clock);
void clock_call(Clock *clock);

#pragma GCC visibility pop
#endif
