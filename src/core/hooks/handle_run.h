/* Runs callbacks: ``Handle._run`` once more in C; and knows where asyncio's handles have their fields. */
#ifndef FGTRACE_HOOKS_HANDLE_RUN_H
#define FGTRACE_HOOKS_HANDLE_RUN_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

typedef struct {
    /* strong: Handle, TimerHandle, TaskStepMethWrapper (which holds the task first) */
    PyTypeObject *handle, *timer, *step;
    PyObject *run;             /* strong: the method that was there before ours */
    PyObject *report;          /* strong: tells a loop of a callback's exception */
    PyObject *nothing;         /* strong: a callback of ours that does nothing, and is not noted */
    /* offsets of a handle's slots */
    Py_ssize_t context, callback, args, loop, cancelled, repr, source_traceback;
    Py_ssize_t when, scheduled; /* those of a timer's own */
    char *file; /* from where `run` calls the callback */
    int line;
    bool is_stock; /* `run` is asyncio's own */
} Asyncio;

extern Asyncio asyncio;

PyObject *handle_task(PyObject *callback);
PyObject *handle_run_learn(PyObject *module, PyObject *arguments);
PyObject *handle_run_method(PyObject *module, PyObject *arguments);

#pragma GCC visibility pop
#endif
