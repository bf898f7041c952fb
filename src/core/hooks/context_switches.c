/* Tells of the steps of tasks whose loop is compiled, as uvloop is, and has handles of its own: from Python 3.14 on
 * the interpreter tells of each switch of contexts, and a task is stepped in its context.
 *
 * A switch names the new context only. Where the innermost context that we know is not entered any more, a step has
 * ended; else a step begins. (A context cannot be entered twice.) Contexts that are nested deeper than DEEPEST are not
 * known, and steps in them are not told. Until 3.13 the interpreter tells nothing.
 */
#include "hooks/context_switches.h"
#include "hooks/listeners.h"
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_context.h>
#endif

#if PY_VERSION_HEX >= 0x030E0000
#define DEEPEST 16 /* contexts that a thread has entered, one within the other */

typedef struct { /* the contexts that this thread has entered */
    unsigned epoch; /* the watch under which they were entered; those of an earlier one are over */
    int depth;
    PyObject *contexts[DEEPEST]; /* addresses: what is entered is alive */
    void *steps[DEEPEST];        /* what the listeners returned for them, or NULL */
} Entered;

static int watcher = -1;
static int watches; /* calls of `contexts_watch` that were not undone */
static unsigned epoch; /* the number of the latest watch */
static _Thread_local Entered entered __attribute__((tls_model("initial-exec")));

/* Leave the contexts that are deeper than this. */
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

/* Drop the contexts that this thread had entered when an earlier watch ended: they are over, though nobody told. */
void
contexts_drop_stale(void)
{
    while (entered.epoch != epoch && entered.depth > 0) {
        void *step = entered.steps[--entered.depth];
        if (step != NULL) {
            listeners.dropped(step);
        }
    }
    entered.epoch = epoch;
}

/* Return the task that is stepped in a context (borrowed), or NULL; the listeners note that it runs. */
static PyObject *
task_in(PyObject *context)
{
    PyObject *task = listeners.will_run_in != NULL ? listeners.will_run_in(context) : NULL;
    return task == NULL && listeners.task_in != NULL ? listeners.task_in(context) : task;
}

/* A context was entered: tell the listeners if a task is stepped in it. */
static void
enter(PyObject *context)
{
    if (entered.depth == DEEPEST) {
        return;
    }
    PyObject *task = task_in(context);
    if (task == NULL && listeners.find_new != NULL && listeners.find_new()) {
        task = task_in(context); /* the task is new, and this is its first step */
    }
    entered.contexts[entered.depth] = context;
    bool is_told = task != NULL && listeners.entered_task != NULL;
    entered.steps[entered.depth++] = is_told ? listeners.entered_task(task) : NULL;
}

/* What the interpreter calls at each switch. */
static int
switched(PyContextEvent event, PyObject *context)
{
    if (event != Py_CONTEXT_SWITCHED) {
        return 0;
    }
    PyObject *error = PyErr_Occurred() ? fetch_exception() : NULL;
    contexts_drop_stale();
    /* The context that was left just now is still alive, since the one who left it has it; those below are entered. */
    int depth = context != Py_None ? entered.depth : 0;
    bool has_ended = context == Py_None || (depth > 0 && !((PyContext *)entered.contexts[depth - 1])->ctx_entered);
    if (has_ended) {
        leave_until(depth > 0 ? depth - 1 : 0);
    }
    else if (((PyContext *)context)->ctx_entered) {
        enter(context);
    } /* a context that is not entered is the thread's own, just made: nothing begins */
    if (error != NULL) {
        restore_exception(error);
    }
    return 0;
}

/* Have the interpreter tell of switches, for one more who wants it; return false where it cannot. */
bool
contexts_watch(void)
{
    if (watches == 0) {
        watcher = PyContext_AddWatcher(switched);
        if (watcher < 0) { /* an interpreter has room for eight watchers */
            PyErr_Clear();
            return false;
        }
        epoch++;
    }
    watches++;
    return true;
}

/* Undo one call of `contexts_watch`. */
void
contexts_unwatch(void)
{
    if (--watches == 0 && PyContext_ClearWatcher(watcher) < 0) {
        PyErr_Clear();
    }
}

/* Watch nothing any more, in the child of a fork. */
void
contexts_forget(void)
{
    while (watches > 0) {
        contexts_unwatch();
    }
}

/* Return whether the interpreter tells of switches. */
bool
contexts_are_watched(void)
{
    return watches > 0;
}

#else
void
contexts_drop_stale(void)
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
