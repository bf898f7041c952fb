/* What is known of the tasks, and the table of their records. */
#ifndef FGTRACE_TASKS_TASK_TABLE_H
#define FGTRACE_TASKS_TASK_TABLE_H

#include "cpython/inspect.h"
#include "tables/tables.h"
#include "tables/walk.h"
#include "tasks/loops.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

#define TASKS_A_SEGMENT 1024
#define PARTS 256 /* of the index of tasks: each grows by itself, so that no growth takes long */

enum {
    TASK_DONE = 1,
    TASK_FOREIGN = 2,
    TASK_WAITS_FOR_LOOP = 4,
    TASK_HAS_OWNER = 8,
    TASK_IS_MARKED = 16,
    TASK_HAS_WEAK = 32,     /* `waiter` is a weak reference */
    TASK_WAITS_PLAINLY = 64, /* its waiter is a future of C */
    TASK_HAS_STEPPED = 128, /* where awaits are exact: steps tell all of it from now on */
    TASK_HAS_REFERENCE = 256 /* `key` is a weak reference */
};

/* There may be a hundred thousand of them: 40 bytes. */
typedef struct {
    /* The task: a strong weak reference to it, or where frees.c tells of its end the bare address; NULL: it has ended. */
    PyObject *key;
    /* Its waiter, or NULL: a strong weak reference where nobody marks the steps of tasks; else the bare
     * address, only to compare with: a task whose step was not marked waits for what it waited for. */
    PyObject *waiter;
    uint32_t hash; /* of its address */
    uint32_t name; /* a part of its name's address, to compare with */
    uint32_t track, detail;
    int32_t stack;
    uint16_t loop;
    uint16_t flags;
} Task;

typedef struct { /* a task that ran since the last look: found by both, for it may be gone */
    PyObject *key; /* as the record's; an address may be another task's by now, which is looked at in vain then */
    uint32_t hash;
    bool is_strong; /* a weak reference */
} Marked;

typedef struct { /* where a task's and a future's fields are; found out by calibration */
    Py_ssize_t waiter, coro, loop, name, state, callback, callbacks, node, context;
} Offsets;

typedef struct {
    Tables *tables; /* of the same core */
    Walk *walk;
    Threads *threads;
    Loops loops;
    bool is_catching_up; /* this look is no tick: the threads' frames are not at hand */
    bool has_exact;      /* there are exact awaits, or were */
    bool is_wanted, is_attached, wants_asyncio, is_handed_over;
    Offsets at;
    PyTypeObject *task_type, *future_type;
    PyTypeObject *told_type; /* borrowed: frees.c tells of the ends of its instances; NULL: of none */
    getter get_waiter;      /* Task._fut_waiter's own reader, to check the offset with */
    PySetObject *tasks;     /* strong: the weak references of asyncio's WeakSet */
    PySetObject *eager;     /* strong, or NULL */
    uint16_t *shadow;       /* a part of the address that each slot of that set held */
    setentry *shadow_table;
    size_t shadow_size, shadow_next;
    Array cuts;       /* of Cut */
    bool is_behind;   /* there are tasks that no look has reached yet */
    Task **segments; /* records stay where they are, until the last one takes a dropped one's place */
    size_t segments_used, segments_room;
    size_t used, next, left_over;
    Index index[PARTS]; /* by address */
    uint32_t **contexts; /* where loops are compiled, for each record the hash of its context; 0: not noted */
    size_t contexts_used, contexts_room;
    Index context_index[PARTS];
    Array waiters; /* of WaitKey */
    Index waiter_index;
    Array questions;  /* of Ask */
    Array marked; /* of Marked */
    uint64_t marks_from; /* the round from which on marks tell all */
    bool is_marking, no_marks; /* no_marks: they are not to be had */
    bool marks_tell;           /* every step of every loop is marked */
    size_t foreign;
    uint64_t rounds;
    bool wants_labels;
    const char *broken; /* the self-check failed: what it was */
} Tasks;

Task *task_new(Tasks *tasks, PyObject *task, PyObject *reference);
PyObject *task_reference(const Task *record);
void task_freed(Tasks *tasks, PyObject *task);
void task_forget_waiter(Task *record);
void task_note_context(Tasks *tasks, uint32_t item, PyObject *context);
void task_mark(Tasks *tasks, Task *record);
void task_unmark(const Marked *marked);
Task *task_find(Tasks *tasks, PyObject *task);
Task *task_by_key(Tasks *tasks, uint32_t hash, const PyObject *key, size_t *item);
Task *task_in_context(Tasks *tasks, PyObject *context);
void task_drop(Tasks *tasks, size_t item);
void task_forget(Tasks *tasks, Task *record);
void tasks_clear(Tasks *tasks);

static inline Task *
task_at(const Tasks *tasks, size_t item)
{
    return &tasks->segments[item / TASKS_A_SEGMENT][item % TASKS_A_SEGMENT];
}

static inline PyObject * /* borrowed; NULL when it is gone */
task_of(const Task *record)
{
    return record->flags & TASK_HAS_REFERENCE ? weak_referent(record->key) : record->key;
}

static inline int32_t
future_state(const Tasks *tasks, PyObject *future) /* 0 pending, -1 not to be read */
{
    PyTypeObject *type = Py_TYPE(future);
    if (type != tasks->future_type && type != tasks->task_type &&
        !PyType_IsSubtype(type, tasks->future_type) && !PyType_IsSubtype(type, tasks->task_type)) {
        return -1;
    }
    return *(int32_t *)((char *)future + tasks->at.state);
}

/* Whether it waits for a future of C, and not for its turn. */
static inline bool
task_waits(const Task *record)
{
    return (record->flags & TASK_WAITS_PLAINLY) && record->detail != RUNNABLE;
}

#pragma GCC visibility pop
#endif
