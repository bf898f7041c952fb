/* The table of tasks, and all that is known of tasks. What is to be known of one task is added to `Task`, of all tasks
 * to `Tasks`; a kind of waiter to waiters.h; a question to Python to questions.h. */
#ifndef FGTRACE_TASKS_TASK_TABLE_H
#define FGTRACE_TASKS_TASK_TABLE_H

#include "cpython/inspect.h"
#include "tables/tables.h"
#include "tables/walk.h"
#include "tasks/loops.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

#define TASKS_A_SEGMENT 1024
#define PARTS 256 /* of an index: each grows by itself, so that no growth takes long */

enum {
    TASK_DONE = 1,           /* its track has ended, or it never had one */
    TASK_FOREIGN = 2,        /* it is written in Python: the Python twin observes it */
    TASK_WAITS_FOR_LOOP = 4, /* its loop was not seen to run yet, so it has no track */
    TASK_HAS_OWNER = 8,      /* whose child it is was looked for */
    TASK_IS_MARKED = 16,     /* it is in `marked` */
    TASK_HAS_WEAK = 32,     /* `waiter` is a weak reference */
    TASK_WAITS_PLAINLY = 64, /* its waiter is a future of C */
    TASK_HAS_STEPPED = 128, /* where awaits are exact: from now on steps tell all of it */
    TASK_HAS_REFERENCE = 256 /* `key` is a weak reference */
};

/* One task. There may be a hundred thousand, so it takes 40 bytes. */
typedef struct {
    /* A weak reference to the task (strong); or the bare address where `tasks/freed_tasks.c` tells of the task's end,
     * NULL when it has ended. */
    PyObject *key;
    /* What the task waits for, or NULL: a weak reference (strong) where the steps of tasks are not all marked; else the
     * bare address, which is only compared: a task whose step was not marked waits for what it waited for. */
    PyObject *waiter;
    uint32_t hash; /* of the task's address */
    uint32_t name; /* a part of the address of its name, to compare with */
    uint32_t track, detail;
    int32_t stack;
    uint16_t loop;
    uint16_t flags;
} Task;

/* a task that ran since the last tick: its record is found by the key and the hash, for it may be gone */
typedef struct {
    PyObject *key; /* the record's key; an address may be another task's by now, which is then observed in vain */
    uint32_t hash;
    bool is_strong; /* the key is a weak reference */
} Marked;

typedef struct { /* where tasks and futures have their fields, as calibration found out */
    Py_ssize_t waiter, coro, loop, name, state, callback, callbacks, node, context;
} Offsets;

typedef struct {
    Tables *tables; /* of the same core */
    Walk *walk;
    Threads *threads;
    Loops loops;
    bool is_catching_up; /* this is no tick: the threads' frames are not at hand */
    bool has_exact;      /* there are exact awaits, or there were */
    bool is_wanted, is_attached, wants_asyncio, is_handed_over;
    Offsets at;
    PyTypeObject *task_type, *future_type;
    PyTypeObject *told_type; /* borrowed: the type whose tasks `tasks/freed_tasks.c` tells of, or NULL */
    getter get_waiter;      /* reads Task._fut_waiter, to check the offset with */
    PySetObject *tasks;     /* strong: asyncio's weak references to tasks */
    PySetObject *eager;     /* strong: asyncio's set of eager tasks, or NULL */
    uint16_t *shadow;       /* of each slot of the set `tasks`, a part of the address that was there */
    setentry *shadow_table;
    size_t shadow_size, shadow_next;
    Array cuts;       /* of Cut */
    bool is_behind;   /* there are tasks that no tick has reached yet */
    Task **segments; /* a record keeps its place until the last one takes the place of a dropped one */
    size_t segments_used, segments_room;
    size_t used, next, left_over;
    Index index[PARTS]; /* by the task's address */
    uint32_t **contexts; /* where loops are compiled, the hash of each record's context; 0: none was noted */
    size_t contexts_used, contexts_room;
    Index context_index[PARTS];
    Array waiters; /* of WaiterKey */
    Index waiter_index;
    Array questions;  /* of Question */
    Array marked; /* of Marked */
    uint64_t marks_from; /* the round from which on marks tell of all steps */
    bool is_marking, no_marks; /* no_marks: marking has ended, and is not begun again */
    bool marks_cover;    /* the hooks tell of every step of every loop */
    size_t foreign;      /* how many tasks are written in Python */
    uint64_t rounds;
    bool wants_labels;
    const char *broken; /* the check of a field failed: what is wrong */
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

/* Return the record with a number. */
static inline Task *
task_at(const Tasks *tasks, size_t item)
{
    return &tasks->segments[item / TASKS_A_SEGMENT][item % TASKS_A_SEGMENT];
}

/* Return a record's task (borrowed), or NULL when it is gone. */
static inline PyObject *
task_of(const Task *record)
{
    return record->flags & TASK_HAS_REFERENCE ? weak_referent(record->key) : record->key;
}

/* Return a future's state: 0 while it is pending, -1 where it is not one of C, and has another layout. */
static inline int32_t
future_state(const Tasks *tasks, PyObject *future)
{
    PyTypeObject *type = Py_TYPE(future);
    if (type != tasks->future_type && type != tasks->task_type &&
        !PyType_IsSubtype(type, tasks->future_type) && !PyType_IsSubtype(type, tasks->task_type)) {
        return -1;
    }
    return *(int32_t *)((char *)future + tasks->at.state);
}

/* Return whether a task waits for a future of C, and not for its turn. */
static inline bool
task_waits(const Task *record)
{
    return (record->flags & TASK_WAITS_PLAINLY) && record->detail != RUNNABLE;
}

#pragma GCC visibility pop
#endif
