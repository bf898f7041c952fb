/* The pace of a trace: when it began, and figures of its ticks. */
#ifndef FGTRACE_TABLES_PACE_H
#define FGTRACE_TABLES_PACE_H

#include "tables/arrays.h"

typedef struct {
    int64_t start, period; /* in ns; the start is on the system's clock */
    int64_t last_tick;     /* its time on the trace's clock; 0 before the first tick */
    uint64_t taken, missed; /* ticks */
    int64_t spent, longest; /* CPU time in ns: of all ticks, of the longest one */
    Array *lateness; /* of int64_t[2]: how late the clock woke, and how late the sample was taken, in ns; or NULL */
} Pace;

#endif
