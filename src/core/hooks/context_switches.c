/* Steps of tasks whose loop is compiled, as uvloop is, and has handles of its own: from Python 3.14 on the interpreter
 * tells of each switch of contexts, and a task is stepped in its context.
 *
 * A switch names the new context only. Where the innermost one that we know is not entered any more, something has
 * ended; else something begins. (A context cannot be entered twice.) Until 3.13 nothing is told.
 */
#include "hooks/context_switches.h"
#include "hooks/listeners.h"
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_context.h>
#endif

#if PY_VERSION_HEX >= 0x030E0000
#define DEEPEST 16

typedef struct { /* what this thread is in */
    unsigned epoch; /* of the watch: what is of an earlier one is over */
    int depth;
    PyObject *contexts[DEEPEST]; /* addresses: they are entered, so they are there */
    void *steps[DEEPEST];        /* of exact awaits, or NULL */
} Entered;

static int watcher = -1, wanted;
static unsigned epoch;
static _Thread_local Entered entered __attribute__((tls_model("initial-exec")));

static void
leave_until(int depth)
{
    while (entered.depth > depth) {
        void *step = entered.steps[--entered.depth];
        if (step != NULL) {
            listeners.left(step);
        }
    }
}

/* What this thread was in when an earlier watch ended is over, though nobody told. */
void
contexts_catch_up(void)
{
    while (entered.epoch != epoch && entered.depth > 0) {
        void *step = entered.steps[--entered.depth];
        if (step != NULL) {
            listeners.dropped(step);
        }
    }
    entered.epoch = epoch;
}

/* The task that is stepped in a context (borrowed), which is marked, or NULL. */
static PyObject *
task_in(PyObject *context)
{
    PyObject *task = listeners.ran_in != NULL ? listeners.ran_in(context) : NULL;
    return task == NULL && listeners.task_in != NULL ? listeners.task_in(context) : task;
}

static void
enter(PyObject *context)
{
    if (entered.depth == DEEPEST) {
        return;
    }
    PyObject *task = task_in(context);
    if (task == NULL && listeners.is_new != NULL && listeners.is_new()) {
        task = task_in(context); /* its first step */
    }
    entered.contexts[entered.depth] = context;
    entered.steps[entered.depth++] = task != NULL && listeners.entered_task != NULL ? listeners.entered_task(task) : NULL;
}

static int
switched(PyContextEvent event, PyObject *context)
{
    if (event != Py_CONTEXT_SWITCHED) {
        return 0;
    }
    PyObject *error = PyErr_Occurred() ? fetch_exception() : NULL;
    contexts_catch_up();
    /* The one that was left just now is alive yet, for whoever left it has it; those below are entered. */
    int depth = context != Py_None ? entered.depth : 0;
    bool has_ended = context == Py_None || (depth > 0 && !((PyContext *)entered.contexts[depth - 1])->ctx_entered);
    if (has_ended) {
        leave_until(depth > 0 ? depth - 1 : 0);
    }
    else if (((PyContext *)context)->ctx_entered) { /* else the thread's own, made because somebody asked for it */
        enter(context);
    }
    if (error != NULL) {
        restore_exception(error);
    }
    return 0;
}

bool
contexts_watch(void)
{
    if (wanted == 0) {
        watcher = PyContext_AddWatcher(switched);
        if (watcher < 0) { /* there are eight at most */
            PyErr_Clear();
            return false;
        }
        epoch++;
    }
    wanted++;
    return true;
}

void
contexts_unwatch(void)
{
    if (--wanted == 0 && PyContext_ClearWatcher(watcher) < 0) {
        PyErr_Clear();
    }
}

void
contexts_forget(void)
{
    while (wanted > 0) {
        contexts_unwatch();
    }
}

bool
contexts_are_watched(void)
{
    return wanted > 0;
}

#else
void
contexts_catch_up(void)
{
}

bool
contexts_watch(void)
{
    return false;
}

void
contexts_unwatch(void)
{
}

void
contexts_forget(void)
{
}

bool
contexts_are_watched(void)
{
    return false;
}
#endif
