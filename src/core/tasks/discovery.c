/* Finds the tasks of this interpreter, by version, without a list of its own and without a call for each.
 *
 * Until 3.13 asyncio keeps weak references to all tasks in a set. Its table is compared with a shadow of
 * it, slot by slot: a reference that was there before is of a known task, since our record holds it and
 * nothing else can have its address. From 3.14 on native tasks are in a list of each thread's state, the
 * newest last, so the search ends at the first known one; tasks of Python are in a set as before.
 */
#include "tasks/discovery.h"
#include "cpython/monotonic.h"
#include "tasks/first_seen.h"

#define A_BATCH 32   /* slots or nodes between two readings of the clock: a new task costs a microsecond */
#define LONGEST_SEARCH 100000 /* ns, after a step */
#define LARGE 16384            /* slots: they take some ten microseconds */
#define FEW 500      /* below so many tasks, the lists are searched to their ends */

typedef struct { /* the search of a list of tasks was cut short: it goes on here */
    const void *head;
    PyObject *reference; /* strong: a weak reference to a task, or NULL: it is done */
} Cut;

static bool
is_over(size_t count, int64_t until)
{
    return count % A_BATCH == 0 && now_ns() > until;
}

/* With exact awaits: an eager task in its first step, which is its creator's. The end of that step tells of it, if it
 * waits then; of others their own steps do. */
static bool
is_in_first_step(const Tasks *tasks, PyObject *task)
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
static bool
is_reference(PyObject *key) /* not the mark of a removed one */
{
    return key != NULL && PyWeakref_CheckRef(key);
}

/* What the shadow keeps of a slot; 0: nothing that is known. Two may look the same: see `search_set`. */
static uint16_t
mark_of(PyObject *key)
{
    uint16_t mark = (uint16_t)((uintptr_t)key >> 4);
    return mark != 0 ? mark : 1;
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
search_changes(Tasks *tasks, int64_t now, int64_t until)
{
    reshape_shadow(tasks);
    for (size_t count = 1; count <= tasks->shadow_size; count++) {
        size_t slot = tasks->shadow_next;
        PyObject *key = tasks->tasks->table[slot].key;
        if (is_reference(key) ? mark_of(key) != tasks->shadow[slot] : tasks->shadow[slot] != 0) {
            PyObject *task = is_reference(key) ? weak_referent(key) : NULL;
            if (task != NULL) {
                Task *known = task_find(tasks, task);
                if (known == NULL && is_in_first_step(tasks, task)) {
                    task = NULL; /* not now */
                }
                else if (known == NULL && task_first_seen(tasks, task, key, now) == NULL) {
                    return;
                }
                if (known != NULL && known->key != key) {
                    bool is_marked = known->flags & TASK_IS_MARKED; /* the mark goes by the key */
                    Py_SETREF(known->key, Py_NewRef(key)); /* ours was another, made when it was eager */
                    known->flags &= (uint16_t)~TASK_IS_MARKED;
                    if (is_marked) {
                        task_mark(tasks, known);
                    }
                }
            }
            tasks->shadow[slot] = task != NULL ? mark_of(key) : 0;
        }
        tasks->shadow_next = slot + 1 < tasks->shadow_size ? slot + 1 : 0;
        if (is_over(count, until)) {
            tasks->is_behind = true;
            return;
        }
    }
    if ((size_t)tasks->tasks->used > tasks->used && tasks->shadow_size > 0) {
        /* A slot that looks the same holds another: its old one went while no search came by. All anew. */
        memset(tasks->shadow, 0, tasks->shadow_size * sizeof *tasks->shadow);
    }
}

/* As many as we have records for: then nothing is new. */
static void
search_set(Tasks *tasks, int64_t now, int64_t until)
{
    if ((size_t)tasks->tasks->used != tasks->used) {
        search_changes(tasks, now, until);
    }
}

/* Those in a set of asyncio's that holds the tasks themselves: eager ones in their first step. */
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
        if (is_task && task_find(tasks, task) == NULL && !is_in_first_step(tasks, task)) {
            task_first_seen(tasks, task, NULL, now);
        }
    }
}

#else
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

/* Where the search of a list goes on; made if there is none, NULL without memory. */
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

/* From a node towards the oldest one: to the first known task, or to the end of the list. False: cut. */
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
        if (record == NULL && Py_REFCNT(task) > 0 && !PyObject_GC_IsFinalized(task) && /* else about to go */
            !is_in_first_step(tasks, task)) {
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

static void
search_list(Tasks *tasks, const struct llist_node *head, int64_t now, int64_t until)
{
    Cut *cut = cut_of(tasks, head);
    if (cut == NULL || head->prev == head) {
        return;
    }
    PyObject *before = Py_XNewRef(cut->reference); /* its older tasks are not known yet */
    bool is_done = search_from(tasks, cut, head->prev, tasks->used < FEW, now, until);
    if (is_done && before != NULL) {
        PyObject *task = weak_referent(before);
        const struct llist_node *node = NULL;
        if (task != NULL) {
            node = ((struct llist_node *)((char *)task + tasks->at.node))->prev;
        }
        /* one that has ended is in no list any more: then the whole list once more */
        is_done = search_from(tasks, cut, node != NULL ? node : head->prev, true, now, until);
    }
    if (is_done) {
        Py_CLEAR(cut->reference);
    }
    Py_XDECREF(before);
}

static void
search_lists(Tasks *tasks, int64_t now, int64_t until)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        search_list(tasks, &((_PyThreadStateImpl *)ts)->asyncio_tasks_head, now, until);
    }
    search_list(tasks, &interp->asyncio_tasks_head, now, until); /* those of threads that are gone */
}
#endif

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

/* --- eager tasks, which begin within a step of another --- */

/* Whether tasks may have come since it was asked last, that no handle has told of. */
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
    (void)newest; /* nothing cheap tells of a set that has changed: as many may have come as went */
    static PyObject *name;
    if (name == NULL && (name = PyUnicode_InternFromString("_task_factory")) == NULL) {
        PyErr_Clear();
        return false;
    }
    PyObject *factory = now >= *next_search ? PyObject_GenericGetAttr(loop, name) : NULL;
    PyErr_Clear();
    bool is_new = factory != NULL && factory != Py_None; /* others are seen when they are scheduled */
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

/* Where a search takes long, it is not made after each step. By size, not by time: the system may have taken that. */
void
tasks_have_been_searched(const Tasks *tasks, int64_t *next_search, int64_t began)
{
    *next_search = tasks->shadow_size > LARGE ? began + (now_ns() - began) * SEARCH_SHARE : 0;
}

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
        if (!is_in_first_step(tasks, task) && task_first_seen(tasks, task, NULL, now) == NULL) {
            return;
        }
    }
#else
    search_changes(tasks, now, tasks->shadow_size > LARGE ? now_ns() + LONGEST_SEARCH : INT64_MAX);
#endif
}

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
