/* Whom the hooks tell of what happens in asyncio: marks and exact awaits put their functions here for as long as they are
 * wanted, so that neither knows of the other. NULL: nobody listens. */
#ifndef FGTRACE_HOOKS_LISTENERS_H
#define FGTRACE_HOOKS_LISTENERS_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

typedef struct {
    /* of loops of asyncio's own */
    void (*ran)(PyObject *task);                          /* a handle is about to step a task */
    void *(*entered)(PyObject *handle, PyObject *task);   /* a handle begins to run; what is returned goes to `left` */
    void (*left)(void *step);                             /* it ends; stays when nobody listens to the rest any more */
    void (*scheduled)(PyObject *loop, PyObject *handle);  /* a handle was put into a loop's queue */
    /* of compiled loops */
    PyObject *(*ran_in)(PyObject *context);  /* a context was entered: the task that has it, borrowed, or NULL */
    PyObject *(*task_in)(PyObject *context); /* the same, which is only asked */
    bool (*is_new)(void);                    /* whether there are new tasks, which are known now */
    void *(*entered_task)(PyObject *task);   /* a task's step begins, as `entered` */
    void (*dropped)(void *step);             /* it is over, but nobody knows since when; stays, like `left` */
} Listeners;

extern Listeners listeners;

#pragma GCC visibility pop
#endif
