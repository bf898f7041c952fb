/* Tells when a task's memory is free for the next one, so that a record may go by its bare address (3.14+).
 *
 * Until 3.13 asyncio has a weak reference to each task, which we share; from 3.14 on it would be ours alone, and 80 bytes
 * for each idle task. Instead `tp_free` of asyncio's own type of tasks is exchanged for as long as there are cores: it is
 * the last that a task's deallocation calls, when finalizers, weak references and fields are done with, so nothing that
 * the program can see is earlier, later or otherwise. A task that is being deallocated when the exchange happens passes
 * by, too. Its type cannot change: it is immutable. Subclasses have a `tp_free` of their own, and weak references.
 *
 * Ours does what was there before by name, so whoever copies it (a subclass made in C meanwhile) or puts theirs over it
 * can keep it for ever.
 */
#include "tasks/freed_tasks.h"
#include "tasks/watchers.h"

static Tasks *told[MOST_WATCHERS];
static PyTypeObject *type; /* strong, while anybody is told */
static const void *latest; /* the address that was freed last; only to compare with */

static void
freed(void *task)
{
    for (size_t place = 0; place < MOST_WATCHERS && told[place] != NULL; place++) {
        task_freed(told[place], task);
    }
    latest = task;
    PyObject_GC_Del(task);
}

bool
freed_tasks_are_watched(const PyTypeObject *of)
{
    return of->tp_free == freed;
}

/* Whether a task that goes does pass by. */
static bool
is_proven(void)
{
    PyObject *nothing = PyTuple_New(0);
    PyObject *task = nothing != NULL ? type->tp_new(type, nothing, NULL) : NULL; /* never begun: it ends silently */
    const void *there = task;
    Py_XDECREF(nothing);
    Py_XDECREF(task);
    PyErr_Clear();
    return there != NULL && latest == there;
}

static void
put_back(void)
{
    if (freed_tasks_are_watched(type)) { /* else somebody else's lies over it, and may stay */
        type->tp_free = PyObject_GC_Del;
    }
    Py_CLEAR(type);
}

static bool
exchange(PyTypeObject *of)
{
    if (of->tp_free != PyObject_GC_Del && !freed_tasks_are_watched(of)) {
        return false; /* somebody else's: what it does is not known */
    }
    type = (PyTypeObject *)Py_NewRef(of);
    type->tp_free = freed;
    if (!is_proven()) {
        put_back();
        return false;
    }
    return true;
}

/* Have a core told of tasks of this type; false: it cannot be. */
bool
freed_tasks_watch(Tasks *tasks, PyTypeObject *of)
{
    if (PY_VERSION_HEX < 0x030E0000 || (type != NULL ? type != of : !exchange(of))) {
        return false;
    }
    return watchers_add(told, tasks); /* where the type was exchanged just now, there is room */
}

/* A core is told no more: its records are no good from now on. */
void
freed_tasks_unwatch(Tasks *tasks)
{
    watchers_remove(told, tasks);
    if (told[0] == NULL && type != NULL) {
        put_back();
    }
}

/* In the child of a fork nothing is traced. */
void
freed_tasks_forget(void)
{
    while (told[0] != NULL) {
        told[0]->is_attached = told[0]->is_wanted = false; /* no look any more */
        freed_tasks_unwatch(told[0]);
    }
}
