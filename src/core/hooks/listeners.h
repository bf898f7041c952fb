/* Whom the hooks tell of what happens in asyncio's loops. Marks and exact awaits put their functions here for as long
 * as they listen, so that neither knows of the other. NULL: nobody listens. A hook in another method of asyncio is a
 * file of this folder that calls a listener; python/module.c gives its method to Python, which puts it in place. */
#ifndef FGTRACE_HOOKS_LISTENERS_H
#define FGTRACE_HOOKS_LISTENERS_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

typedef struct {
    /* Told by loops of asyncio's own: */
    void (*will_run)(PyObject *task);                     /* a handle is about to step a task */
    void *(*entered)(PyObject *handle, PyObject *task);   /* a handle begins to run; `left` gets what is returned */
    /* the handle has run; this function stays, also when nobody listens to the rest any more */
    void (*left)(void *step);
    void (*scheduled)(PyObject *loop, PyObject *handle);  /* a handle was put into a ready queue */
    /* Told by compiled loops: */
    /* a context was entered: note that its task is about to run, and return the task (borrowed), or NULL */
    PyObject *(*will_run_in)(PyObject *context);
    PyObject *(*task_in)(PyObject *context); /* return the task that has a context (borrowed), or NULL */
    bool (*find_new)(void);                  /* find tasks that are new; return whether there are any */
    void *(*entered_task)(PyObject *task);   /* a task's step begins; `left` or `dropped` gets what is returned */
    /* the step has ended, but nobody knows when; this function stays, like `left` */
    void (*dropped)(void *step);
} Listeners;

extern Listeners listeners;

#pragma GCC visibility pop
#endif
