/* Observes all tasks in rounds, within a budget: a call goes on where the last one had to stop. */
#include "tasks/rounds.h"
#include "cpython/monotonic.h"
#include "tasks/discovery.h"
#include "tasks/observe.h"

#define PREFETCH_AHEAD 8   /* records: the memory of that one is fetched while this one is observed */
#define FULL_EVERY 16      /* rounds: a record is observed in full once in that many */
#define A_BATCH 64         /* records between two reads of the clock */

/* Return whether a task waits as it did: a task makes no step before its waiter is done, not even a cancelled one. The
 * task itself is not read, so it may be gone; freed_tasks.c, where it works, tells that by key == NULL. */
static inline bool
still_waits(const Tasks *tasks, const Task *record)
{
    if (!(record->flags & TASK_HAS_WEAK) || !task_waits(record) || record->key == NULL) {
        return false;
    }
    PyObject *waiter = weak_referent(record->waiter);
    return waiter != NULL && *(int32_t *)((char *)waiter + tasks->at.state) == 0;
}

/* Fetch the memory of records that are observed soon: first the weak reference, then the future. */
static void
prefetch_ahead(const Tasks *tasks)
{
    size_t far = tasks->next + 2 * PREFETCH_AHEAD, near = tasks->next + PREFETCH_AHEAD;
    if (far < tasks->used && (task_at(tasks, far)->flags & TASK_HAS_WEAK)) {
        __builtin_prefetch(&((PyWeakReference *)task_at(tasks, far)->waiter)->wr_object);
    }
    if (near < tasks->used && (task_at(tasks, near)->flags & TASK_HAS_WEAK)) {
        PyObject *waiter = ((PyWeakReference *)task_at(tasks, near)->waiter)->wr_object;
        __builtin_prefetch((char *)waiter + tasks->at.state);
    }
}

/* Observe all tasks, or as many as there is time for; the next call goes on there. */
void
observe_round(Tasks *tasks, int64_t now, int64_t until)
{
    if (tasks->left_over == 0) {
        tasks->left_over = tasks->used;
    }
    for (size_t batch = 1; tasks->left_over > 0 && tasks->used > 0 && tasks->broken == NULL; batch++) {
        if (tasks->next >= tasks->used) {
            tasks->next = 0;
        }
        prefetch_ahead(tasks);
        /* A record is observed in full now and then, since a waiter may outlive its task. */
        bool is_full = (tasks->next + tasks->rounds) % FULL_EVERY == 0;
        Task *record = task_at(tasks, tasks->next);
        if ((!is_full && still_waits(tasks, record)) || task_observe(tasks, record, false, now)) {
            tasks->next++;
        }
        else {
            task_drop(tasks, tasks->next);
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

/* Find new tasks, for which the search has until a time, and observe those that it found. */
void
observe_new(Tasks *tasks, int64_t now, int64_t until)
{
    size_t first = tasks->used;
    tasks_discover(tasks, now, until);
    for (size_t item = first; item < tasks->used && tasks->broken == NULL; item++) {
        Task *record = task_at(tasks, item);
        /* the next observation drops the record of a task that has ended */
        bool is_there = task_observe(tasks, record, false, now);
        if (tasks->is_marking && (!is_there || !task_waits(record))) {
            task_mark(tasks, record);
        }
    }
}
