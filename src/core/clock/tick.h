/* A tick of a core: what it observes, in which order, within its budget. What a tick is to observe besides is added to
 * `observe_tasks`, or beside it in `tick_or_catch_up` (clock/tick.c). */
#ifndef FGTRACE_CLOCK_TICK_H
#define FGTRACE_CLOCK_TICK_H

#include "clock/clock.h"
#include "core.h"

#pragma GCC visibility push(hidden)

#define MANY_TASKS 2000 /* with more tasks than that it pays to know which of them ran */
#define MOST_ROWS 65536 /* from that many rows on Python is called to fetch them */

extern const ClockJobs tick_jobs; /* for a clock of a `Core` */

void core_tick(Core *core, int64_t since);

#pragma GCC visibility pop
#endif
