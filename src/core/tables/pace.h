/* The pace of a trace: when it began, and what its ticks were. */
#ifndef FGTRACE_TABLES_PACE_H
#define FGTRACE_TABLES_PACE_H

#include "tables/arrays.h"

typedef struct {
    int64_t start, period; /* ns: the start on the system's clock */
    int64_t last_tick;     /* its time on the trace's clock; 0: there was none */
    uint64_t taken, missed;
    int64_t spent, longest;
    Array *lateness; /* of int64_t[2]: when the clock woke, when the sample was taken; or NULL */
} Pace;

#endif
