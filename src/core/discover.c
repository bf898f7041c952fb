/* Finds the tasks of this interpreter, by version, without a list of its own and without a call for each.
 *
 * Until 3.13 asyncio keeps weak references to all tasks in a set. Its table is compared with a shadow of
 * it, slot by slot: a reference that was there before is of a known task, since our record holds it and
 * nothing else can have its address. From 3.14 on native tasks are in a list of each thread's state, the
 * newest last, so the search ends at the first known one; tasks of Python are in a set as before.
 */
#include "core.h"

#define A_BATCH 256  /* slots or nodes between two readings of the clock */
#define FEW 1000     /* so many tasks in a list are all visited */

static bool
is_over(size_t count, int64_t until)
{
    return count % A_BATCH == 0 && now_ns() > until;
}

#if PY_VERSION_HEX < 0x030E0000
static bool
is_reference(PyObject *key) /* not the mark of a removed one */
{
    return key != NULL && PyWeakref_CheckRef(key);
}

static void
reshape_shadow(Tasks *tasks)
{
    size_t size = (size_t)tasks->tasks->mask + 1;
    if (tasks->shadow_table == tasks->tasks->table && tasks->shadow_size == size) {
        return;
    }
    free(tasks->shadow);
    tasks->shadow = calloc(size, sizeof *tasks->shadow);
    tasks->shadow_size = tasks->shadow != NULL ? size : 0;
    tasks->shadow_table = tasks->tasks->table;
    tasks->shadow_next = 0;
}

/* Until 3.13: whatever of the set is not as it was. */
static void
search_set(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    reshape_shadow(tasks);
    for (size_t count = 1; count <= tasks->shadow_size; count++) {
        size_t slot = tasks->shadow_next;
        PyObject *key = tasks->tasks->table[slot].key;
        if (key != tasks->shadow[slot]) {
            PyObject *task = is_reference(key) ? weak_referent(key) : NULL;
            if (task != NULL) {
                Task *known = tasks_find(tasks, task);
                if (known == NULL && tasks_add(core, task, key, now) == NULL) {
                    return;
                }
                if (known != NULL && known->reference != key) {
                    Py_SETREF(known->reference, Py_NewRef(key)); /* it was eager, and ours was another */
                }
            }
            tasks->shadow[slot] = task != NULL ? key : NULL;
        }
        tasks->shadow_next = slot + 1 < tasks->shadow_size ? slot + 1 : 0;
        if (is_over(count, until)) {
            return;
        }
    }
}

/* Those in a set of asyncio's that holds the tasks themselves: eager ones in their first step. */
static void
search_eager(Core *core, int64_t now)
{
    PySetObject *eager = core->tasks.eager;
    if (eager == NULL || eager->used == 0) {
        return;
    }
    for (Py_ssize_t slot = 0; slot <= eager->mask; slot++) {
        PyObject *task = eager->table[slot].key;
        bool is_task = task != NULL && PyType_IsSubtype(Py_TYPE(task), core->tasks.task_type);
        if (is_task && tasks_find(&core->tasks, task) == NULL) {
            tasks_add(core, task, NULL, now);
        }
    }
}

#else
static void
search_list(Core *core, const struct llist_node *head, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    size_t count = 1;
    for (struct llist_node *node = head->prev; node != NULL && node != head; node = node->prev, count++) {
        PyObject *task = (PyObject *)((char *)node - tasks->at.node);
        if (Py_REFCNT(task) > 0) {
            if (tasks_find(tasks, task) == NULL) {
                if (PyObject_GC_IsFinalized(task)) {
                    continue; /* about to go: a weak reference would be one too late */
                }
                if (tasks_add(core, task, NULL, now) == NULL) {
                    return;
                }
            }
            else if (tasks->used > FEW) {
                return;
            }
        }
        if (is_over(count, until)) {
            return;
        }
    }
}

static void
search_lists(Core *core, int64_t now, int64_t until)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        search_list(core, &((_PyThreadStateImpl *)ts)->asyncio_tasks_head, now, until);
    }
    search_list(core, &interp->asyncio_tasks_head, now, until); /* of threads that are gone */
}
#endif

void
tasks_discover(Core *core, int64_t now, int64_t until)
{
#if PY_VERSION_HEX >= 0x030E0000
    search_lists(core, now, until);
    core->tasks.foreign = (size_t)core->tasks.tasks->used;
    if (core->tasks.eager != NULL) {
        core->tasks.foreign += (size_t)core->tasks.eager->used;
    }
#else
    search_set(core, now, until);
    search_eager(core, now);
#endif
}
