/* Knows which tasks ran: the hooks tell which task is about to be stepped, and it is marked.
 *
 * With very many tasks even two reads for each are too much. For a core with marks, a tick observes the tasks that
 * were marked, those that were not waiting when they were last observed, those in the ready queues, and a few others
 * in turn, in case a step was made in a way that no hook tells.
 */
#include "hooks/ran_marks.h"
#include "cpython/inspect.h"
#include "cpython/monotonic.h"
#include "hooks/context_switches.h"
#include "hooks/handle_run.h"
#include "hooks/listeners.h"
#include "tasks/loops.h"
#include "tasks/observe.h"
#include "tasks/watchers.h"

#define IN_TURN 64     /* records that a tick observes in turn */
#define MOST_READY 256 /* handles of one ready queue that a tick observes */
#define A_BATCH 64     /* marks between two reads of the clock */

static Tasks *marking[MOST_WATCHERS];

/* A handle is about to step a task: mark the task in each core. */
static void
will_run(PyObject *task)
{
    for (size_t place = 0; place < MOST_WATCHERS && marking[place] != NULL; place++) {
        Task *record = task_find(marking[place], task);
        if (record != NULL) {
            task_mark(marking[place], record);
        }
    }
}

/* A context was entered: mark the task that is stepped in it, and return it (borrowed), or NULL. */
static PyObject *
will_run_in(PyObject *context)
{
    PyObject *task = NULL;
    for (size_t place = 0; place < MOST_WATCHERS && marking[place] != NULL; place++) {
        Task *record = task_in_context(marking[place], context);
        if (record != NULL) {
            task = task_of(record);
            task_mark(marking[place], record);
        }
    }
    return task;
}

/* Have the hooks tell of steps for as long as any core has marks. */
static void
listen(void)
{
    bool is_wanted = marking[0] != NULL;
    listeners.will_run = is_wanted ? will_run : NULL;
    listeners.will_run_in = is_wanted ? will_run_in : NULL;
}

/* Begin to mark the tasks that run; return false where there are too many cores. */
bool
marks_begin(Tasks *tasks)
{
    if (!tasks->is_marking) {
        tasks->marks_from = tasks->rounds + 2; /* after one whole round */
        tasks->is_marking = watchers_add(marking, tasks);
        listen();
    }
    return tasks->is_marking;
}

/* Stop marking; it is not begun again. */
void
marks_end(Tasks *tasks)
{
    watchers_remove(marking, tasks);
    listen();
    tasks->is_marking = false;
    tasks->no_marks = true;
}

/* Stop marking in all cores, in the child of a fork. */
void
marks_forget(void)
{
    while (marking[0] != NULL) {
        marks_end(marking[0]);
    }
}

/* --- a tick observes those that ran --- */

/* Return whether the hooks tell of every step of every loop. */
bool
marks_cover_loops(const Tasks *tasks)
{
    for (size_t index = 0; index < tasks->loops.used; index++) {
        if (tasks->loops.items[index].is_compiled && weak_referent(tasks->loops.items[index].reference) != NULL &&
            !contexts_are_watched()) {
            return false;
        }
    }
    return true;
}

/* Return whether the tasks that ran are all marked, and the others were observed once since that began. */
bool
marks_suffice(const Tasks *tasks)
{
    return tasks->is_marking && tasks->marks_cover && tasks->rounds >= tasks->marks_from;
}

/* Observe a task, and drop its record if it is gone. */
static void
visit(Tasks *tasks, Task *record, size_t item, bool ran, int64_t now)
{
    if (!task_observe(tasks, record, ran, now)) {
        task_drop(tasks, item);
    }
    else if (tasks->is_marking && !(record->flags & TASK_DONE) && !task_waits(record)) {
        task_mark(tasks, record); /* it runs, or is about to: the next tick observes it again */
    }
    else if (tasks->marks_cover && (record->flags & TASK_HAS_WEAK)) {
        /* this weak reference is from before there were marks, and takes memory */
        task_note_waiter(tasks, record, weak_referent(record->waiter));
    }
}

/* Observe the tasks in the ready queues. */
static void
visit_ready(Tasks *tasks, int64_t now)
{
    for (size_t index = 0; index < tasks->loops.used; index++) {
        const Loop *loop = &tasks->loops.items[index];
        PyObject *alive = weak_referent(loop->reference);
        PyObject *ready = loop->ready > 0 && alive != NULL ? loop_ready_queue(alive) : NULL;
        Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : 0;
        for (Py_ssize_t place = 0; place < count && place < MOST_READY; place++) {
            PyObject *handle = PySequence_GetItem(ready, place);
            if (handle != NULL && PyObject_TypeCheck(handle, asyncio.handle)) {
                PyObject *task = handle_task(field_at(handle, asyncio.callback));
                Task *record = task != NULL ? task_find(tasks, task) : NULL;
                if (record != NULL) { /* its task is alive, so the record is not dropped, and its number not needed */
                    visit(tasks, record, 0, false, now);
                }
            }
            Py_XDECREF(handle);
        }
        Py_XDECREF(ready);
        PyErr_Clear();
    }
}

/* Observe some tasks in turn, whether they are marked or not. */
void
visit_in_turn(Tasks *tasks, int64_t now)
{
    for (int count = 0; count < IN_TURN && tasks->used > 0; count++) {
        size_t item = tasks->next = tasks->next < tasks->used ? tasks->next : 0;
        visit(tasks, task_at(tasks, item), item, false, now);
        tasks->next++;
    }
}

/* Observe the tasks that ran, for which there is time until `until`, those in the ready queues, and some others. */
void
marks_visit(Tasks *tasks, int64_t now, int64_t until)
{
    Array marked = tasks->marked;
    bool is_over = false;
    tasks->marked = (Array){0};
    for (size_t place = 0; place < marked.used; place++) {
        Marked *each = &((Marked *)marked.items)[place];
        size_t item = 0;
        Task *record = task_by_key(tasks, each->hash, each->key, &item);
        if (record != NULL) {
            record->flags &= (uint16_t)~TASK_IS_MARKED;
            is_over = is_over || (place % A_BATCH == A_BATCH - 1 && now_ns() > until);
            if (is_over) {
                task_mark(tasks, record); /* there is no time left: the next tick observes it */
            }
            else {
                visit(tasks, record, item, true, now);
            }
        }
        task_unmark(each);
    }
    array_free(&marked);
    visit_ready(tasks, now);
    visit_in_turn(tasks, now);
    tasks->rounds += !is_over;
    tasks->left_over = 0;
}
