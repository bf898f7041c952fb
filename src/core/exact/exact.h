/* Exact awaits: begins and ends them for a trace. */
#ifndef FGTRACE_EXACT_EXACT_H
#define FGTRACE_EXACT_EXACT_H

#include "exact/exact_state.h"

#pragma GCC visibility push(hidden)

Exact *exact_begin(Tables *tables, Tasks *tasks, const Pace *pace, const char *folder, size_t most_bytes,
                   bool is_watching);
void exact_end(Exact *exact, int64_t now);
PyObject *exact_under_way(Exact *exact, int64_t now);
void exact_observe(Exact *exact, int64_t now);
void exact_free(Exact *exact);
void exact_forget(void);

#pragma GCC visibility pop
#endif
