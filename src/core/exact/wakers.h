/* Exact awaits: knows who schedules what, and whose child a new task is. */
#ifndef FGTRACE_EXACT_WAKERS_H
#define FGTRACE_EXACT_WAKERS_H

#include "exact/exact_state.h"

#pragma GCC visibility push(hidden)

Task *step_record(Exact *exact, const OpenStep *open);
void step_know_task(const OpenStep *open);
void task_note_creator(Exact *exact, Task *record, uint32_t creator, int64_t now);
void handle_scheduled(PyObject *loop, PyObject *handle);

#pragma GCC visibility pop
#endif
