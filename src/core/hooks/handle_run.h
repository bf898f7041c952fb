/* What runs callbacks: ``Handle._run`` once more in C; and what is known of asyncio's handles. */
#ifndef FGTRACE_HOOKS_HANDLE_RUN_H
#define FGTRACE_HOOKS_HANDLE_RUN_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

typedef struct {
    PyTypeObject *handle, *timer, *step; /* strong: Handle, TimerHandle, TaskStepMethWrapper, which holds the task first */
    PyObject *run;             /* strong: what was there before ours */
    PyObject *report;          /* strong: tells a loop of a callback's exception */
    PyObject *nothing;         /* strong: a callback of ours, which is not noted */
    /* where a handle has them */
    Py_ssize_t context, callback, args, loop, cancelled, repr, source_traceback;
    Py_ssize_t when, scheduled; /* where a timer has them */
    char *file; /* where `run` calls the callback */
    int line;
    bool is_stock; /* `run` is asyncio's own */
} Asyncio;

extern Asyncio asyncio;

PyObject *handle_task(PyObject *callback);
PyObject *handle_run_learn(PyObject *module, PyObject *arguments);
PyObject *handle_run_method(PyObject *module, PyObject *arguments);

#pragma GCC visibility pop
#endif
