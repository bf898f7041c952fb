/* The C twin of fgtrace's collectors; ARCHITECTURE.md tells how it is put together.
 *
 * The rules of these files
 * - Every read of the interpreter's structures happens with the GIL held.
 * - A tick runs no Python code, not even a finalizer's: it allocates nothing that the garbage collector
 *   counts but weak references, the collector is off meanwhile, and nothing is called that looks for
 *   signals (``str`` and ``repr`` do, and from 3.12 on collect there).
 * - Strong references are kept to code objects, strings, types and weak references only.
 * - What a tick finds goes into tables, rows and notes, which Python takes out between ticks; whatever
 *   asks for judgement is put to Python as a question.
 */
#ifndef FGTRACE_CORE_H
#define FGTRACE_CORE_H

#include "tables/tables.h"

#pragma GCC visibility push(hidden)

#define TASKS_A_SEGMENT 1024
#define PARTS 256 /* of the index of tasks: each grows by itself, so that no growth takes long */

/* --- threads.c --- */

typedef struct {
    uint64_t id; /* the thread state's: never used twice */
    unsigned long ident;
    int64_t native, cpu, time, moved;
    PyObject *name; /* strong, or NULL */
    size_t first, count; /* its frames in the path of this tick, leaf first */
    uint32_t track, tick;
    int32_t stack;
    int8_t ran, value, still; /* what its clock did: noted, now; whether it was doubted before */
} Thread;

typedef struct {
    Thread *items;
    size_t used, room;
    bool is_wanted;
    PyObject *active; /* threading._active */
    PyObject *hidden; /* a set of idents, or NULL */
    int64_t looked;
    uint32_t tick;
} Threads;

/* --- tasks.c --- */

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

typedef struct {
    PyObject *reference; /* strong: a weak reference to the loop */
    PyObject *loop;      /* its address */
    unsigned long ident; /* of its thread, 0: unknown */
    int64_t ready;       /* the length of its ready queue, -1: unknown */
    bool is_compiled; /* it has handles of its own */
    bool is_exact, is_begun, is_ended; /* its steps are noted; those under way at the start are settled; it was closed */
} Loop;

typedef struct { /* the search of a list of tasks was cut short: it goes on here */
    const void *head;
    PyObject *reference; /* strong: a weak reference to a task, or NULL: it is done */
} Cut;

typedef struct {
    PyTypeObject *type;
    uint32_t kind, track, detail;
} WaitKey;

typedef struct { /* a task that ran since the last look: found by both, for it may be gone */
    PyObject *key; /* as the record's; an address may be another task's by now, which is looked at in vain then */
    uint32_t hash;
    bool is_strong; /* a weak reference */
} Marked;

typedef enum { ASK_WAIT, ASK_CHAIN, ASK_OWNER, ASK_LABELS, ASK_KINDS } AskKind;

typedef struct {
    PyObject *reference; /* strong: a weak reference to the task */
    PyObject *waiter;    /* the same to its waiter, or NULL */
    uint64_t row;
    int64_t time;
    uint32_t track;
    AskKind kind;
} Ask;

typedef struct { /* where a task's and a future's fields are; found out by calibration */
    Py_ssize_t waiter, coro, loop, name, state, callback, callbacks, node, context;
} Offsets;

typedef struct {
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
    Loop *loops;
    size_t loops_used, loops_room;
    Array waits; /* of WaitKey */
    Index wait_index;
    Array asks;  /* of Ask */
    Array marked; /* of Marked */
    uint64_t marks_from; /* the round from which on marks tell all */
    bool is_marking, no_marks; /* no_marks: they are not to be had */
    bool marks_tell;           /* every step of every loop is marked */
    size_t foreign;
    uint64_t rounds;
    bool wants_labels;
    const char *broken; /* the self-check failed: what it was */
} Tasks;

/* --- all of it --- */

typedef struct Clock Clock;
typedef struct Exact Exact; /* chunks.h */

typedef struct Core {
    PyObject_HEAD
    Tables tables;
    Links links;
    Path path;
    Array on_stack; /* of OnStack */
    Array chain;    /* of Link */
    Threads threads;
    Tasks tasks;
    Exact *exact; /* or NULL */
    Clock *clock;
    int64_t last_look;   /* its time */
    int64_t tick_budget; /* ns that one look at the tasks may take */
    bool is_looking, is_catching_up;
} Core;

/* --- cores.c --- */

#define MOST_CORES 16

bool cores_add(Core **list, Core *core);
void cores_remove(Core **list, const Core *core);

/* --- looks.c --- */

void core_look(Core *core, int64_t now);
void core_catch_up(Core *core, int64_t now); /* look only for tasks that no look has reached yet */

/* --- threads.c --- */

int64_t now_ns(void);
bool threads_look(Core *core, int64_t now);
void threads_end(Core *core, int64_t now);
void threads_free(Threads *threads);
PyObject *thread_name(Core *core, unsigned long ident); /* borrowed, or NULL */

/* --- tasks.c --- */

static inline PyObject * /* borrowed */
tasks_field(PyObject *object, Py_ssize_t offset)
{
    return *(PyObject **)((char *)object + offset);
}

static inline Task *
tasks_at(const Tasks *tasks, size_t item)
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
    return (record->flags & TASK_WAITS_PLAINLY) && record->detail != 1;
}

bool tasks_look_at(Core *core, Task *record, bool ran, int64_t now);
void tasks_note_waiter(Tasks *tasks, Task *record, PyObject *waiter);
int32_t tasks_chain(Core *core, Task *record, PyObject *task, PyObject *waiter, int64_t now, uint32_t *detail,
                    AskKind *ask);
void tasks_end_all(Core *core, int64_t now);
void tasks_free(Tasks *tasks);

/* --- records.c --- */

Task *records_new(Core *core, PyObject *task, PyObject *reference);
PyObject *records_reference(const Task *record); /* strong: a weak reference to the task, or NULL */
void records_freed(Tasks *tasks, PyObject *task);
void records_forget_waiter(Task *record);
void records_note_context(Tasks *tasks, uint32_t item, PyObject *context);
void records_free(Tasks *tasks);
Task *tasks_find(Tasks *tasks, PyObject *task);
Task *tasks_by_key(Tasks *tasks, uint32_t hash, const PyObject *key, size_t *item);
Task *tasks_in_context(Tasks *tasks, PyObject *context);
void tasks_drop(Tasks *tasks, size_t item);
void tasks_forget(Tasks *tasks, Task *record);

/* --- sight.c --- */

Task *tasks_add(Core *core, PyObject *task, PyObject *reference, int64_t now);
void tasks_promote(Core *core, Task *record, PyObject *task, int64_t now);
void tasks_rename(Core *core, Task *record, PyObject *task, bool is_first);
Ask *put_question(Core *core, Task *record, AskKind kind, const Row *row);

/* --- discover.c --- */

void tasks_discover(Core *core, int64_t now, int64_t until);
void tasks_discover_here(Core *core, int64_t now); /* those of this thread */
bool tasks_may_be_new(PyObject *loop, const void **newest, int64_t *next_search, int64_t now);
void tasks_have_been_searched(const Tasks *tasks, int64_t *next_search, int64_t began);

/* --- waits.c --- */

uint32_t tasks_wait(Core *core, uint32_t kind, PyTypeObject *type, uint32_t track);
void waits_read(Core *core, Task *record, PyObject *waiter, Gen *leaf, int64_t now, uint32_t *detail,
                AskKind *ask);
void waits_owner(Core *core, Task *record, PyObject *task);

/* --- loops.c --- */

int loop_index(Core *core, PyObject *loop);
long thread_of(PyObject *loop);
void place_loop(Core *core, size_t index, unsigned long ident);
void loops_count_ready(Core *core, int64_t now);
PyObject *ready_queue(PyObject *loop);
PyObject *attribute(PyObject *object, const char *name);
PyObject *class_name(PyTypeObject *type);

/* --- frees.c --- */

bool frees_tell(Core *core, PyTypeObject *of);
void frees_leave(Core *core);
void frees_forget(void);
bool frees_are_watched(const PyTypeObject *of);

/* --- handles.c --- */

typedef struct {
    PyTypeObject *handle, *timer, *step; /* strong: Handle, TimerHandle, TaskStepMethWrapper, which holds the task first */
    PyObject *run;             /* strong: what was there before ours */
    PyObject *report;          /* strong: tells a loop of a callback's exception */
    PyObject *nothing;         /* strong: a callback of ours, which is not noted */
    /* where a handle has them */
    Py_ssize_t context, callback, args, loop, cancelled, repr, source_traceback;
    Py_ssize_t when, scheduled; /* where a timer has them */
    char *file; /* where `run` calls the callback */
    int line;
    bool is_stock; /* `run` is asyncio's own */
} Asyncio;

extern Asyncio asyncio;

PyObject *handle_task(PyObject *callback);
PyObject *handle_slot(PyObject *handle, Py_ssize_t offset);
PyObject *handles_learn(PyObject *module, PyObject *arguments);
PyObject *handles_run(PyObject *module, PyObject *arguments);

/* --- schedule.c --- */

PyObject *schedule_inner(PyObject *module, PyObject *arguments);
PyObject *schedule_outer(PyObject *module, PyObject *arguments);
PyObject *schedule_timers(PyObject *module, PyObject *arguments);

/* --- steps.c --- */

bool steps_begin(Core *core);
void steps_end(Core *core);
bool steps_all_mark(const Tasks *tasks); /* whether every loop's steps are marked */
bool steps_serve(const Tasks *tasks);    /* whether marks tell all that ran */
void steps_mark(Tasks *tasks, Task *record);
void steps_ran(PyObject *task);
PyObject *steps_in_context(PyObject *context); /* borrowed: the task that has it, or NULL */
void steps_in_turn(Core *core, int64_t now);
void steps_look(Core *core, int64_t now, int64_t until);
void steps_free(Tasks *tasks);
void steps_forget(void);

/* --- exact.c, exact_*.c --- */

typedef struct Turn Turn;

bool exact_begin(Core *core, const char *folder, size_t most_bytes, bool is_watching);
void exact_end(Core *core, int64_t now);
PyObject *exact_under_way(Core *core, int64_t now);
bool exact_is_wanted(void);
Turn *exact_enter(PyObject *handle, PyObject *task);
Turn *exact_enter_task(PyObject *task);
void exact_drop(Turn *turn);
void exact_leave(Turn *turn);
bool exact_discover(void);
Core *exact_core(size_t place); /* NULL: none */
void exact_scheduled(PyObject *loop, PyObject *handle);
void exact_look(Core *core, int64_t now);
void exact_free(Core *core);
void exact_forget(void);
void exact_purge(Core *core);
void exact_assume(PyObject *loop, PyObject *task); /* a step of it is under way in this thread */

#define MOST_EXACT 4 /* cores with exact awaits at once */

/* --- contexts.c --- */

void contexts_catch_up(void);
bool contexts_watch(void);
void contexts_leave(void);
void contexts_forget(void); /* these three: in the child of a fork nothing is traced */
bool contexts_are_watched(void);

/* --- clock.c --- */

typedef struct {
    int64_t start, period;
    uint64_t taken, missed;
    int64_t spent, longest;
    Array *lateness; /* of int64_t[2]: when the clock woke, when the sample was taken; or NULL */
} Pace;

Clock *clock_new(Core *core, int64_t period, double max_overhead);
void clock_free(Clock *clock);
int clock_run(Clock *clock);          /* begin ticking; -1 with an exception */
void clock_halt(Clock *clock);        /* end the thread; the GIL is given away meanwhile */
int clock_wait(Clock *clock);         /* for work: 1 there is some, 0 the clock was halted */
void clock_call(Clock *clock);        /* somebody has work for `clock_wait` */
Pace *clock_pace(Clock *clock);

#pragma GCC visibility pop
#endif
