/* Exact awaits: when each step of a task and each callback of a loop began and ended, when it was scheduled, and by
 * whom.
 *
 * The twin is `fgtrace._sampling.exact.collector`, which tells the reasons. This file begins and ends exact awaits
 * for a trace; the others of this folder do the rest.
 */
#include "exact/exact.h"
#include "exact/open_steps.h"
#include "exact/ready_queues.h"
#include "exact/step_notes.h"
#include "exact/wakers.h"
#include "hooks/listeners.h"
#include "tasks/observe.h"

/* Have the hooks tell of steps for as long as there are traces with exact awaits. */
static void
listen(void)
{
    bool is_wanted = exact_state.count > 0;
    listeners.entered = is_wanted ? step_enter : NULL;
    listeners.scheduled = is_wanted ? handle_scheduled : NULL;
    listeners.task_in = is_wanted ? steps_task_in : NULL;
    listeners.find_new = is_wanted ? steps_find_new : NULL;
    listeners.entered_task = is_wanted ? step_enter_task : NULL;
    listeners.left = step_leave; /* a step that was entered is left, whoever listens then */
    listeners.dropped = step_drop;
}

/* Prepare the place of a new trace: who scheduled what is in the queues already, this trace does not know. */
static void
begin_place(size_t place)
{
    for (ExactLoop *loop = exact_state.loops; loop != NULL; loop = loop->next) {
        loop->index[place] = NONE;
        for (uint32_t each = 0; each < loop->used; each++) {
            at_number(loop, loop->first + each)->waker[place] = NOBODY;
        }
    }
    /* a step that is under way begins now, for this trace */
    for (OpenStep *open = exact_state.open; open != NULL; open = open->older) {
        open->is_seen[place] = open->loop != NULL;
        open->waker[place] = NOBODY;
        open->track[place] = NONE;
    }
}

/* Begin exact awaits for a trace; return what it keeps, which `exact_free` frees. Return NULL without memory, or
 * where there are too many such traces. */
Exact *
exact_begin(Tables *tables, Tasks *tasks, const Pace *pace, const char *folder, size_t most_bytes, bool is_watching)
{
    size_t place = 0;
    while (place < MOST_EXACT && exact_state.traces[place] != NULL) {
        place++;
    }
    Exact *exact = place < MOST_EXACT ? calloc(1, sizeof *exact) : NULL;
    if (exact == NULL || !chunks_begin(&exact->steps, folder, most_bytes)) {
        free(exact);
        return NULL;
    }
    exact->tables = tables;
    exact->tasks = tasks;
    exact->pace = pace;
    exact->collections.began = -1;
    exact->is_watching = is_watching;
    tasks->has_exact = true;
    exact_state.traces[place] = exact;
    exact_state.end = place + 1 > exact_state.end ? place + 1 : exact_state.end;
    exact_state.count++;
    begin_place(place);
    listen();
    return exact;
}

/* A trace is over: with the last one, forget all that is known of loops and of steps under way. */
static void
forget_ended(void)
{
    while (exact_state.end > 0 && exact_state.traces[exact_state.end - 1] == NULL) {
        exact_state.end--;
    }
    listen();
    if (exact_state.count > 0) {
        return;
    }
    ExactLoop *dead = exact_state.loops;
    exact_state.loops = NULL; /* this comes first, for what follows may run the program's code */
    for (OpenStep *open = exact_state.open; open != NULL; open = open->older) {
        open->loop = NULL;
        open->again = 0;
    }
    for (OpenStep *open = exact_state.open; open != NULL;) {
        PyObject *task = open->loop == NULL ? open->task : NULL, *callback = open->loop == NULL ? open->callback : NULL;
        if (task == NULL && callback == NULL) {
            open = open->older;
            continue;
        }
        open->task = open->callback = NULL;
        Py_XDECREF(task);
        Py_XDECREF(callback);
        open = exact_state.open; /* the program's code may have changed the list */
    }
    exact_loops_free(dead);
}

/* End exact awaits for a trace: the steps under way end now. */
void
exact_end(Exact *exact, int64_t now)
{
    for (size_t place = 0; place < exact_state.end; place++) {
        if (exact_state.traces[place] != exact) {
            continue;
        }
        for (OpenStep *open = exact_state.open; open != NULL; open = open->older) {
            Step step;
            if (step_so_far(exact, place, open, now, &step)) {
                chunks_keep(&exact->steps, &step);
            }
            open->is_seen[place] = false;
        }
        exact_state.traces[place] = NULL;
        exact_state.count--;
    }
    forget_ended();
}

/* Return the steps that are under way, as if they ended now (bytes, strong); NULL with an exception. */
PyObject *
exact_under_way(Exact *exact, int64_t now)
{
    Array found = {0};
    int gc_was_on = PyGC_Disable(); /* else the program's finalizers could begin steps meanwhile */
    for (size_t place = 0; place < exact_state.end; place++) {
        const OpenStep *open = exact_state.traces[place] == exact ? exact_state.open : NULL;
        for (; open != NULL; open = open->older) {
            Step step, *kept = step_so_far(exact, place, open, now, &step) ? array_push(&found, sizeof step) : NULL;
            if (kept != NULL) {
                *kept = step;
            }
        }
    }
    if (gc_was_on) {
        PyGC_Enable();
    }
    PyObject *bytes = PyBytes_FromStringAndSize(found.items, (Py_ssize_t)(found.used * sizeof(Step)));
    array_free(&found);
    return bytes;
}

/* Forget all traces with exact awaits, in the child of a fork. */
void
exact_forget(void)
{
    memset(exact_state.traces, 0, sizeof exact_state.traces);
    exact_state.count = 0;
    forget_ended();
}

/* Free what a trace keeps. */
void
exact_free(Exact *exact)
{
    exact_end(exact, 0);
    chunks_free(&exact->steps);
    callbacks_free(&exact->callbacks);
    array_free(&exact->collections.items);
    free(exact);
}

/* --- a tick --- */

/* Observe the tasks that are in a step, of which a tick shows the frames. */
void
exact_observe(Exact *exact, int64_t now)
{
    for (ExactLoop *loop = exact_state.loops; loop != NULL; loop = loop->next) {
        ready_note_closed(exact, loop, now);
        PyObject *task = loop->open != NULL ? loop->open->task : NULL;
        Task *record = task != NULL ? task_find(exact->tasks, task) : NULL;
        if (record != NULL) {
            record->stack = GONE; /* what the last step showed is no longer so: a row is appended */
            task_observe(exact->tasks, record, true, now);
        }
    }
}
