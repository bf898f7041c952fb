/* Exact awaits: begins and ends the steps of each thread. */
#ifndef FGTRACE_EXACT_OPEN_STEPS_H
#define FGTRACE_EXACT_OPEN_STEPS_H

#include "exact/exact_state.h"

#pragma GCC visibility push(hidden)

void *step_enter(PyObject *handle, PyObject *task);
void *step_enter_task(PyObject *task);
void step_leave(void *step);
void step_drop(void *step);
void step_assume(PyObject *loop, PyObject *task);
PyObject *steps_task_in(PyObject *context);
bool steps_find_new(void);

#pragma GCC visibility pop
#endif
