/* A tick of a core. */
#ifndef FGTRACE_CLOCK_TICK_H
#define FGTRACE_CLOCK_TICK_H

#include "clock/clock.h"
#include "core.h"

#pragma GCC visibility push(hidden)

#define MANY_TASKS 2000 /* from so many tasks on it pays to know which of them ran */
#define MOST_ROWS 65536 /* so many rows may wait in the core until Python fetches them */

extern const ClockJobs tick_jobs; /* for a clock of a `Core` */

void core_tick(Core *core, int64_t since);

#pragma GCC visibility pop
#endif
