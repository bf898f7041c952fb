/* A tick of a core. */
#ifndef FGTRACE_CLOCK_TICK_H
#define FGTRACE_CLOCK_TICK_H

#include "clock/clock.h"
#include "core.h"

#pragma GCC visibility push(hidden)

#define MANY_TASKS 2000 /* from so many on it pays to know which of them ran */
#define MOST_ROWS 65536 /* rows that wait for Python to fetch them */

extern const ClockJobs tick_jobs; /* of a `Core` */

void core_tick(Core *core, int64_t now);

#pragma GCC visibility pop
#endif
