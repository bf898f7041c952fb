/* A tick: every thread is looked at, then new tasks, then those that may have moved on, within a budget; the next look goes
 * on where this one had to stop. */
#include "core.h"

#define LOOK_AHEAD 8   /* records: the memory of that one is asked for while this one is looked at */
#define THOROUGHLY 16 /* each record is looked at in full at one round of so many */
#define A_BATCH 64    /* records between two readings of the clock */

/* Whether a task waits as it did: a task makes no step before its waiter is done, not even a cancelled one.
 * Of the task itself nothing is read; whether it is there is known where frees.c tells. */
static inline bool
still_waits(const Core *core, const Task *record)
{
    if (!(record->flags & TASK_HAS_WEAK) || !task_waits(record) || record->key == NULL) {
        return false;
    }
    PyObject *waiter = weak_referent(record->waiter);
    return waiter != NULL && *(int32_t *)((char *)waiter + core->tasks.at.state) == 0;
}

/* Ask for the memory of records that will be looked at soon: the weak reference first, then the future. */
static void
look_ahead(const Tasks *tasks)
{
    size_t far = tasks->next + 2 * LOOK_AHEAD, near = tasks->next + LOOK_AHEAD;
    if (far < tasks->used && (tasks_at(tasks, far)->flags & TASK_HAS_WEAK)) {
        __builtin_prefetch(&((PyWeakReference *)tasks_at(tasks, far)->waiter)->wr_object);
    }
    if (near < tasks->used && (tasks_at(tasks, near)->flags & TASK_HAS_WEAK)) {
        PyObject *waiter = ((PyWeakReference *)tasks_at(tasks, near)->waiter)->wr_object;
        __builtin_prefetch((char *)waiter + tasks->at.state);
    }
}

/* One round over all records, or the part of it that the budget allows; the next look goes on there. */
static void
look_round(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    if (tasks->left_over == 0) {
        tasks->left_over = tasks->used;
    }
    for (size_t batch = 1; tasks->left_over > 0 && tasks->used > 0 && tasks->broken == NULL; batch++) {
        if (tasks->next >= tasks->used) {
            tasks->next = 0;
        }
        look_ahead(tasks);
        /* Now and then also whether a task is still there whose waiter outlives it. */
        bool is_thorough = (tasks->next + tasks->rounds) % THOROUGHLY == 0;
        Task *record = tasks_at(tasks, tasks->next);
        if ((!is_thorough && still_waits(core, record)) || tasks_look_at(core, record, false, now)) {
            tasks->next++;
        }
        else {
            tasks_drop(tasks, tasks->next);
        }
        tasks->left_over--;
        if (batch % A_BATCH == 0 && now_ns() > until) {
            break;
        }
    }
    if (tasks->left_over == 0 || tasks->used == 0) {
        tasks->left_over = 0;
        tasks->rounds++;
    }
}

/* Find new tasks, and look at them. */
static void
look_at_new(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    size_t first = tasks->used;
    tasks_discover(core, now, until);
    for (size_t item = first; item < tasks->used && tasks->broken == NULL; item++) {
        Task *record = tasks_at(tasks, item);
        bool is_there = tasks_look_at(core, record, false, now); /* one that has ended is dropped at its next look */
        if (tasks->is_marking && (!is_there || !task_waits(record))) {
            steps_mark(tasks, record);
        }
    }
}

static bool
is_attached(Core *core)
{
    Tasks *tasks = &core->tasks;
    if (!tasks->is_attached) {
        /* asyncio may be imported while the trace runs: then Python finds out where its fields are */
        PyObject *modules = PyImport_GetModuleDict();
        tasks->wants_asyncio = tasks->is_wanted && PyDict_GetItemString(modules, "asyncio.tasks") != NULL;
    }
    return tasks->is_attached && tasks->broken == NULL;
}

static void
look_at_tasks(Core *core, int64_t now)
{
    if (is_attached(core)) {
        int64_t began = now_ns();
        loops_count_ready(core, now);
        core->tasks.marks_tell =
            (core->tasks.is_marking || core->exact != NULL) && steps_all_mark(&core->tasks);
        look_at_new(core, now, began + core->tick_budget / 3);
        if (core->exact != NULL) {
            exact_look(core, now);
        }
        if (core->exact != NULL && core->tasks.marks_tell) {
            core->tasks.rounds++; /* steps tell the rest */
        }
        else if (steps_serve(&core->tasks)) {
            steps_look(core, now, began + core->tick_budget);
        }
        else {
            look_round(core, now, began + core->tick_budget);
        }
#if PY_VERSION_HEX < 0x030E0000
        if ((size_t)core->tasks.tasks->used != core->tasks.used) { /* as many came as went */
            look_at_new(core, now, began + core->tick_budget);
        }
#endif
    }
}

static void
catch_up(Core *core, int64_t now)
{
    if (is_attached(core)) {
        look_at_new(core, now, now_ns() + core->tick_budget / 3);
    }
}

static void
looking(Core *core, int64_t now, bool is_tick)
{
    if (core->is_looking || core->tables.failed) {
        return;
    }
    core->is_looking = true;
    core->is_catching_up = !is_tick;
    /* A late tick is noted as of when it was due: looks in between may be later than that. */
    now = now > core->last_look ? now : core->last_look;
    core->last_look = now;
    int collects = PyGC_Disable(); /* else an allocation could run the program's finalizers */
    core->path.used = 0;
    core->on_stack.used = 0;
    if (!is_tick) {
        catch_up(core, now);
    }
    else if (threads_look(core, now)) {
        look_at_tasks(core, now);
        threads_end(core, now);
    }
    else {
        core->tables.failed = true;
    }
    if (collects) {
        PyGC_Enable();
    }
    core->is_looking = false;
}

void
core_look(Core *core, int64_t now)
{
    looking(core, now, true);
}

void
core_catch_up(Core *core, int64_t now)
{
    looking(core, now, false);
}
