/* Tells when the memory of a task is free for the next one, so that a record may know the task by its bare address
 * (3.14+).
 *
 * Until 3.13 asyncio has a weak reference to each task, which our records share. From 3.14 on such a reference would
 * be ours alone, and take 80 bytes for each idle task. Instead `tp_free` of asyncio's own type of tasks is exchanged
 * for as long as there are cores. It is the last function that a task's deallocation calls, when finalizers, weak
 * references and fields are done with, so nothing that the program can see comes earlier, later or in another way. A
 * task that is being deallocated when the exchange happens ends with our function, too. A task cannot change its
 * type, for that is immutable. Subclasses have a `tp_free` of their own, and their tasks are known by weak
 * references.
 *
 * Our function calls the one that was there before by its name, so whoever copies ours (a subclass that is made in C
 * meanwhile) or puts another one over it can keep it for ever.
 */
#include "tasks/freed_tasks.h"
#include "tasks/watchers.h"

static Tasks *told[MOST_WATCHERS];
static PyTypeObject *type; /* strong, while any core is told */
static const void *latest; /* the address that was freed last, which is only compared */

/* Our `tp_free`: tell every core. */
static void
freed(void *task)
{
    for (size_t place = 0; place < MOST_WATCHERS && told[place] != NULL; place++) {
        task_freed(told[place], task);
    }
    latest = task;
    PyObject_GC_Del(task);
}

/* Return whether a type has our `tp_free`. */
bool
freed_tasks_are_watched(const PyTypeObject *of)
{
    return of->tp_free == freed;
}

/* Return whether our function is called for a task that goes, by a task that is made and freed here. */
static bool
is_proven(void)
{
    PyObject *nothing = PyTuple_New(0);
    /* `Task.__init__` never ran, so the task ends silently */
    PyObject *task = nothing != NULL ? type->tp_new(type, nothing, NULL) : NULL;
    const void *there = task;
    Py_XDECREF(nothing);
    Py_XDECREF(task);
    PyErr_Clear();
    return there != NULL && latest == there;
}

/* Give the type its own function back. */
static void
put_back(void)
{
    /* where somebody's function lies over ours, both stay */
    if (freed_tasks_are_watched(type)) {
        type->tp_free = PyObject_GC_Del;
    }
    Py_CLEAR(type);
}

/* Give a type our function; return false where that must not or does not work. */
static bool
exchange(PyTypeObject *of)
{
    if (of->tp_free != PyObject_GC_Del && !freed_tasks_are_watched(of)) {
        return false; /* the type has somebody's function, of which nothing is known */
    }
    type = (PyTypeObject *)Py_NewRef(of);
    type->tp_free = freed;
    if (!is_proven()) {
        put_back();
        return false;
    }
    return true;
}

/* Have a core told of the ends of this type's tasks; return false where it cannot be told. */
bool
freed_tasks_watch(Tasks *tasks, PyTypeObject *of)
{
    if (PY_VERSION_HEX < 0x030E0000 || (type != NULL ? type != of : !exchange(of))) {
        return false;
    }
    return watchers_add(told, tasks); /* where the type was exchanged just now, the list is empty */
}

/* Tell a core of no more ends: the bare addresses that it knows are of no use from now on. */
void
freed_tasks_unwatch(Tasks *tasks)
{
    watchers_remove(told, tasks);
    if (told[0] == NULL && type != NULL) {
        put_back();
    }
}

/* Tell no core any more, and have none observe tasks, in the child of a fork. */
void
freed_tasks_forget(void)
{
    while (told[0] != NULL) {
        told[0]->is_attached = told[0]->is_wanted = false;
        freed_tasks_unwatch(told[0]);
    }
}
