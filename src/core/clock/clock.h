/* The clock: a native thread that keeps the time without the GIL. What the clock itself is to do between ticks is
 * added to `ClockJobs`; what a tick does, in clock/tick.c. */
#ifndef FGTRACE_CLOCK_CLOCK_H
#define FGTRACE_CLOCK_CLOCK_H

#include "tables/pace.h"
#include "tables/tables.h"

#pragma GCC visibility push(hidden)

#define BURST 10000000 /* ns by which ticks may overdraw their budget at once */

typedef struct Clock Clock;

typedef struct { /* what a clock calls: the clock knows neither what a tick does, nor of whom it is */
    /* With the GIL: take a tick whose sample holds from `since`; that is `now`, unless the tick is late. Both times
     * are on the trace's clock. */
    void (*tick)(void *of, int64_t since, int64_t now);
    void (*catch_up)(void *of, int64_t now); /* with the GIL: search only for tasks that no tick has reached yet */
    /* return whether there are tasks that no tick has reached; this and what follows is called without the GIL */
    bool (*is_behind)(const void *of);
    bool (*has_work)(const void *of);        /* return whether there is work for the thread in `clock_wait` */
    /* write what exceeds the memory; return false where there will never be anything to write */
    bool (*spill)(void *of);
} ClockJobs;

Clock *clock_new(Tables *tables, Pace *pace, const ClockJobs *jobs, void *of, double max_overhead);
void clock_free(Clock *clock);
int clock_start(Clock *clock);
void clock_halt(Clock *clock);
int clock_wait(Clock *clock);
void clock_wake(Clock *clock);

#pragma GCC visibility pop
#endif
