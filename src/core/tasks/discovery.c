/* Finds the tasks of this interpreter in asyncio's own sets and lists, without a call for each task.
 *
 * Until 3.13 asyncio keeps weak references to all tasks in a set. The set's table is compared with a shadow of it,
 * slot by slot: a reference that was there before is that of a known task, since our record holds the reference and
 * no other object can have its address. From 3.14 on each thread's state has a list of its native tasks, the newest
 * last, so that a search ends at the first known task; where a search ran out of time, a cut says where the next one
 * goes on. Tasks that are written in Python are in a set as before.
 */
#include "tasks/discovery.h"
#include "cpython/monotonic.h"
#include "tasks/first_seen.h"

#define A_BATCH 32   /* slots or nodes between two reads of the clock; a new task costs a microsecond */
#define LONGEST_SEARCH 100000 /* ns that a search after a step may take */
#define LARGE 16384            /* slots; the search of such a table takes some ten microseconds */
#define FEW 500      /* with fewer tasks than that, a list is searched to its end */

typedef struct { /* where a search that ran out of time goes on */
    const void *head; /* of the list */
    PyObject *reference; /* strong: a weak reference to the task at that place; NULL: the search came to its end */
} Cut;

/* Return whether a search has run out of time; the clock is read now and then. */
static bool
is_over(size_t count, int64_t until)
{
    return count % A_BATCH == 0 && now_ns() > until;
}

/* Return whether a search leaves a task to the steps: awaits are exact, and it has no waiter. It is in its eager first
 * step, which is a part of its creator's and whose end tells of it, or its next own step does. */
static bool
is_left_to_steps(const Tasks *tasks, PyObject *task)
{
    if (!tasks->has_exact || !PyType_IsSubtype(Py_TYPE(task), tasks->task_type) ||
        field_at(task, tasks->at.waiter) != NULL) {
        return false;
    }
    PyObject *loop = field_at(task, tasks->at.loop);
    for (size_t index = 0; index < tasks->loops.used; index++) {
        if (tasks->loops.items[index].loop == loop && weak_referent(tasks->loops.items[index].reference) == loop) {
            return tasks->loops.items[index].is_exact && !tasks->loops.items[index].is_compiled;
        }
    }
    return false;
}

#if PY_VERSION_HEX < 0x030E0000
/* Return whether a slot of a set holds a reference, and not the mark of a removed one. */
static bool
is_reference(PyObject *key)
{
    return key != NULL && PyWeakref_CheckRef(key);
}

/* Return what the shadow keeps of a slot: a part of the reference's address, never 0, which stands for nothing known.
 * Two references may have the same shadow: see `search_changes`. */
static uint16_t
shadow_of(PyObject *key)
{
    uint16_t part = (uint16_t)((uintptr_t)key >> 4);
    return part != 0 ? part : 1;
}

/* Make the shadow as large as the set's table. */
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

/* Until 3.13: add the tasks of all slots that differ from the shadow. */
static void
search_changes(Tasks *tasks, int64_t now, int64_t until)
{
    reshape_shadow(tasks);
    for (size_t count = 1; count <= tasks->shadow_size; count++) {
        size_t slot = tasks->shadow_next;
        PyObject *key = tasks->tasks->table[slot].key;
        if (is_reference(key) ? shadow_of(key) != tasks->shadow[slot] : tasks->shadow[slot] != 0) {
            PyObject *task = is_reference(key) ? weak_referent(key) : NULL;
            if (task != NULL) {
                Task *known = task_find(tasks, task);
                if (known == NULL && is_left_to_steps(tasks, task)) {
                    task = NULL; /* a later search adds it */
                }
                else if (known == NULL && task_first_seen(tasks, task, key, now) == NULL) {
                    return;
                }
                if (known != NULL && known->key != key) {
                    bool is_marked = known->flags & TASK_IS_MARKED; /* the mark is found by the key */
                    /* our reference was another one, made when the task was eager */
                    Py_SETREF(known->key, Py_NewRef(key));
                    known->flags &= (uint16_t)~TASK_IS_MARKED;
                    if (is_marked) {
                        task_mark(tasks, known);
                    }
                }
            }
            tasks->shadow[slot] = task != NULL ? shadow_of(key) : 0;
        }
        tasks->shadow_next = slot + 1 < tasks->shadow_size ? slot + 1 : 0;
        if (is_over(count, until)) {
            tasks->is_behind = true;
            return;
        }
    }
    if ((size_t)tasks->tasks->used > tasks->used && tasks->shadow_size > 0) {
        /* A slot holds another reference with the same shadow: its old one went while no search came by. All slots
         * are compared anew. */
        memset(tasks->shadow, 0, tasks->shadow_size * sizeof *tasks->shadow);
    }
}

/* Search the set, unless it has as many tasks as we have records: then none is new. */
static void
search_set(Tasks *tasks, int64_t now, int64_t until)
{
    if ((size_t)tasks->tasks->used != tasks->used) {
        search_changes(tasks, now, until);
    }
}

/* Add the tasks of asyncio's other set, which holds the tasks themselves: eager ones in their first step. */
static void
search_eager(Tasks *tasks, int64_t now)
{
    PySetObject *eager = tasks->eager;
    if (eager == NULL || eager->used == 0) {
        return;
    }
    for (Py_ssize_t slot = 0; slot <= eager->mask; slot++) {
        PyObject *task = eager->table[slot].key;
        bool is_task = task != NULL && PyType_IsSubtype(Py_TYPE(task), tasks->task_type);
        if (is_task && task_find(tasks, task) == NULL && !is_left_to_steps(tasks, task)) {
            task_first_seen(tasks, task, NULL, now);
        }
    }
}

#else
/* Return whether a node is the head of a list, and no task. */
static bool
is_head(PyInterpreterState *interp, const struct llist_node *node)
{
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        if (node == &((_PyThreadStateImpl *)ts)->asyncio_tasks_head) {
            return true;
        }
    }
    return node == &interp->asyncio_tasks_head;
}

/* Return the cut of a list, which is added if the list is new; NULL without memory. */
static Cut *
cut_of(Tasks *tasks, const void *head)
{
    for (size_t item = 0; item < tasks->cuts.used; item++) {
        if (((Cut *)tasks->cuts.items)[item].head == head) {
            return &((Cut *)tasks->cuts.items)[item];
        }
    }
    Cut *cut = array_push(&tasks->cuts, sizeof *cut);
    if (cut != NULL) {
        cut->head = head;
    }
    return cut;
}

/* Add the tasks from a node on towards the oldest one, to the first known task or to the end of the list. Return
 * false where time ran out; `cut` says then where. */
static bool
search_from(Tasks *tasks, Cut *cut, const struct llist_node *node, bool to_the_end, int64_t now, int64_t until)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (size_t count = 1; !is_head(interp, node); node = node->prev, count++) {
        PyObject *task = (PyObject *)((char *)node - tasks->at.node);
        Task *record = task_find(tasks, task);
        if (record != NULL && !to_the_end) {
            return true;
        }
        /* a task without references, or one that is finalized, is about to go */
        bool is_new = record == NULL && Py_REFCNT(task) > 0 && !PyObject_GC_IsFinalized(task);
        if (is_new && !is_left_to_steps(tasks, task)) {
            record = task_first_seen(tasks, task, NULL, now);
        }
        PyObject *here = record != NULL && is_over(count, until) ? task_reference(record) : NULL;
        if (here != NULL) {
            Py_XSETREF(cut->reference, here);
            tasks->is_behind = true;
            return false;
        }
    }
    return true;
}

/* Add the new tasks of a list: the newest ones, and those from where the last search had to stop. */
static void
search_list(Tasks *tasks, const struct llist_node *head, int64_t now, int64_t until)
{
    Cut *cut = cut_of(tasks, head);
    if (cut == NULL || head->prev == head) {
        return;
    }
    PyObject *before = Py_XNewRef(cut->reference); /* the tasks that are older than this one are not known yet */
    bool is_done = search_from(tasks, cut, head->prev, tasks->used < FEW, now, until);
    if (is_done && before != NULL) {
        PyObject *task = weak_referent(before);
        const struct llist_node *node = NULL; /* a task that has ended is in no list any more, and has none */
        if (task != NULL) {
            node = ((struct llist_node *)((char *)task + tasks->at.node))->prev;
        }
        /* without a node, the whole list is searched */
        is_done = search_from(tasks, cut, node != NULL ? node : head->prev, true, now, until);
    }
    if (is_done) {
        Py_CLEAR(cut->reference);
    }
    Py_XDECREF(before);
}

/* Add the new tasks of all lists. */
static void
search_lists(Tasks *tasks, int64_t now, int64_t until)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        search_list(tasks, &((_PyThreadStateImpl *)ts)->asyncio_tasks_head, now, until);
    }
    search_list(tasks, &interp->asyncio_tasks_head, now, until); /* the tasks of threads that are gone */
}
#endif

/* Add all tasks that are new, until a time; `is_behind` says afterwards whether some are left. */
void
tasks_discover(Tasks *tasks, int64_t now, int64_t until)
{
    tasks->is_behind = false;
#if PY_VERSION_HEX >= 0x030E0000
    search_lists(tasks, now, until);
    tasks->foreign = (size_t)tasks->tasks->used;
    if (tasks->eager != NULL) {
        tasks->foreign += (size_t)tasks->eager->used;
    }
#else
    search_set(tasks, now, until);
    search_eager(tasks, now);
#endif
}

/* --- eager tasks, which begin within the step of another task --- */

/* Return whether tasks may have come, since the last call, of which no handle has told. `newest` and `next_search`
 * are the caller's memory between two calls for one loop. */
bool
tasks_may_be_new(PyObject *loop, const void **newest, int64_t *next_search, int64_t now)
{
#if PY_VERSION_HEX >= 0x030E0000
    (void)loop;
    (void)next_search;
    (void)now;
    const void *there = ((_PyThreadStateImpl *)PyThreadState_Get())->asyncio_tasks_head.prev;
    bool is_new = there != *newest;
    *newest = there;
    return is_new;
#elif PY_VERSION_HEX >= 0x030C0000
    (void)newest; /* nothing cheap tells of a set that has changed: as many tasks may have come as went */
    static PyObject *name;
    if (name == NULL && (name = PyUnicode_InternFromString("_task_factory")) == NULL) {
        PyErr_Clear();
        return false;
    }
    PyObject *factory = now >= *next_search ? PyObject_GenericGetAttr(loop, name) : NULL;
    PyErr_Clear();
    /* without a factory no task is eager, and a task is seen when it is scheduled */
    bool is_new = factory != NULL && factory != Py_None;
    Py_XDECREF(factory);
    return is_new;
#else
    (void)loop;
    (void)newest;
    (void)next_search;
    (void)now;
    return false; /* there are no eager tasks */
#endif
}

/* Note when the set is to be searched again: after the next step, or later where a search takes long. The table's size
 * decides whether to wait at all, since the system may have given the time of a short search to others; then the wait
 * is SEARCH_SHARE times the search. */
void
tasks_note_search(const Tasks *tasks, int64_t *next_search, int64_t began)
{
    *next_search = tasks->shadow_size > LARGE ? began + (now_ns() - began) * SEARCH_SHARE : 0;
}

/* Add the new tasks of the calling thread (from 3.14 on), or of all threads. */
void
tasks_discover_here(Tasks *tasks, int64_t now)
{
#if PY_VERSION_HEX >= 0x030E0000
    struct llist_node *head = &((_PyThreadStateImpl *)PyThreadState_Get())->asyncio_tasks_head;
    for (struct llist_node *node = head->prev; node != head; node = node->prev) {
        PyObject *task = (PyObject *)((char *)node - tasks->at.node);
        if (task_find(tasks, task) != NULL) {
            return;
        }
        if (!is_left_to_steps(tasks, task) && task_first_seen(tasks, task, NULL, now) == NULL) {
            return;
        }
    }
#else
    search_changes(tasks, now, tasks->shadow_size > LARGE ? now_ns() + LONGEST_SEARCH : INT64_MAX);
#endif
}

/* Free what the searches hold. */
void
discovery_free(Tasks *tasks)
{
    Py_CLEAR(tasks->tasks);
    Py_CLEAR(tasks->eager);
    for (size_t item = 0; item < tasks->cuts.used; item++) {
        Py_XDECREF(((Cut *)tasks->cuts.items)[item].reference);
    }
    array_free(&tasks->cuts);
    free(tasks->shadow);
}
