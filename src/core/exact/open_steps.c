/* Exact awaits: begins and ends the steps of each thread. The hooks tell of both ends of a step. */
#include "exact/open_steps.h"
#include "cpython/inspect.h"
#include "cpython/monotonic.h"
#include "exact/ready_queues.h"
#include "exact/step_notes.h"
#include "exact/wakers.h"
#include "hooks/context_switches.h"
#include "hooks/handle_run.h"
#include "tasks/discovery.h"

/* Return the loop of a task (borrowed), or NULL. */
static PyObject *
task_loop(PyObject *task)
{
    for (size_t place = 0; place < exact_state.end; place++) {
        if (exact_state.traces[place] != NULL && exact_state.traces[place]->tasks->is_attached) {
            return field_at(task, exact_state.traces[place]->tasks->at.loop);
        }
    }
    return NULL;
}

/* Begin a step in this thread; return NULL without memory. Its record is not on the C stack: a greenlet may have its
 * part of that elsewhere meanwhile. */
static OpenStep *
begin_step(ExactLoop *loop, PyObject *task, PyObject *callback, int64_t now)
{
    OpenStep *open = exact_state.spare;
    if (open != NULL) {
        exact_state.spare = open->outer;
    }
    else if ((open = malloc(sizeof *open)) == NULL) {
        return NULL;
    }
    *open = (OpenStep){.outer = current_step, .older = exact_state.open, .loop = loop, .start = now, .ready = -1,
                   .task = Py_XNewRef(task), .callback = Py_XNewRef(callback),
                   .waker = {NOBODY, NOBODY, NOBODY, NOBODY}, .track = {NONE, NONE, NONE, NONE}};
    if (exact_state.open != NULL) {
        exact_state.open->newer = open;
    }
    exact_state.open = current_step = loop->open = open;
    loop->ident = PyThread_get_thread_ident();
    for (size_t place = 0; place < exact_state.end; place++) {
        open->is_seen[place] = exact_state.traces[place] != NULL;
    }
    return open;
}

/* End a step: take its record out of all lists. Steps of greenlets need not nest. The program's code may run. */
static void
end_step(OpenStep *open)
{
    for (OpenStep **link = &current_step; *link != NULL; link = &(*link)->outer) {
        if (*link == open) {
            *link = open->outer;
            break;
        }
    }
    *(open->newer != NULL ? &open->newer->older : &exact_state.open) = open->older;
    if (open->older != NULL) {
        open->older->newer = open->newer;
    }
    if (open->loop != NULL && open->loop->open == open) {
        OpenStep *other = exact_state.open;
        while (other != NULL && other->loop != open->loop) {
            other = other->older;
        }
        open->loop->open = other;
    }
    PyObject *task = open->task, *callback = open->callback;
    *open = (OpenStep){.outer = exact_state.spare};
    exact_state.spare = open;
    Py_XDECREF(task);
    Py_XDECREF(callback);
}

/* Return where a callback comes from. */
static int
source_of(PyObject *handle, bool was_scheduled)
{
    if (was_scheduled) {
        return SOON;
    }
    if (PyObject_TypeCheck(handle, asyncio.timer)) {
        return TIMER;
    }
    return Py_TYPE(handle) == asyncio.handle ? SELECTOR : THREADSAFE; /* the subclass is 3.14's _ThreadSafeHandle */
}

/* End the step that is assumed to be under way in this thread, for another one begins. */
static void
end_assumed(int64_t now)
{
    OpenStep *open = current_step;
    if (open != NULL && open->is_assumed) {
        step_note_in_all(open, now);
        end_step(open);
    }
}

/* Begin the step of a task whose loop has handles of its own; return its record, or NULL. Nothing is known of who
 * scheduled the step. */
void *
step_enter_task(PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    int gc_was_on = PyGC_Disable();
    ExactLoop *loop = exact_loop_of(task_loop(task));
    OpenStep *open = NULL;
    if (loop != NULL) {
        end_first_steps(loop, now);
        open = begin_step(loop, task, NULL, now);
        for (size_t place = 0; open != NULL && place < exact_state.end; place++) {
            open->is_seen[place] &= exact_state.traces[place] != NULL && exact_state.traces[place]->is_watching;
        }
    }
    if (gc_was_on) {
        PyGC_Enable();
    }
    return open;
}

/* Begin the step of a task, or a callback, for a handle of asyncio's; return its record, or NULL. */
void *
step_enter(PyObject *handle, PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    int gc_was_on = PyGC_Disable();
    ExactLoop *loop = exact_loop_of(field_at(handle, asyncio.loop));
    OpenStep *open = NULL;
    if (loop != NULL) {
        Scheduled scheduled;
        bool was_scheduled = !PyObject_TypeCheck(handle, asyncio.timer) && ready_remove(loop, handle, &scheduled);
        end_first_steps(loop, now);
        open = begin_step(loop, task, field_at(handle, asyncio.callback), now);
        if (open != NULL) {
            open->source = source_of(handle, was_scheduled);
            if (was_scheduled) {
                open->ready = scheduled.time;
                open->source = scheduled.is_from_thread ? THREADSAFE : SOON;
                memcpy(open->waker, scheduled.waker, sizeof open->waker);
            }
            bool is_from_thread = open->source == THREADSAFE && !was_scheduled;
            for (size_t place = 0; is_from_thread && place < exact_state.end; place++) {
                open->waker[place] = THREAD;
            }
            if (task != NULL && loop->is_eager) {
                /* not later: if the task ends with this step, nothing can be read of it afterwards */
                step_know_task(open);
            }
        }
    }
    if (gc_was_on) {
        PyGC_Enable();
    }
    return open;
}

/* Find the tasks that began within a step and wait where it ends: no handle has told of them. */
static void
find_eager(const OpenStep *open, int64_t end)
{
    ExactLoop *loop = open->loop;
    if (!tasks_may_be_new(loop->loop, &loop->newest, &loop->next_search, end)) {
        return;
    }
    loop->is_eager = true;
    for (size_t place = 0; place < exact_state.end; place++) {
        Exact *exact = exact_state.traces[place];
        int gc_was_on;
        if (exact == NULL || !begin_work(exact, &gc_was_on)) {
            continue;
        }
        size_t first = exact->tasks->used;
        tasks_discover_here(exact->tasks, relative(exact, end));
        for (size_t item = first; item < exact->tasks->used; item++) {
            Task *record = task_at(exact->tasks, item);
            if (record->track != NONE && !(record->flags & TASK_DONE)) {
                task_note_creator(exact, record, open->track[place], relative(exact, end));
            }
        }
        tasks_note_search(exact->tasks, &loop->next_search, end);
        end_work(exact, gc_was_on);
    }
}

/* Return the task that has a context, as any trace knows it (borrowed), or NULL. */
PyObject *
steps_task_in(PyObject *context)
{
    const Task *record = NULL;
    for (size_t place = 0; place < exact_state.end && record == NULL; place++) {
        record = exact_state.traces[place] != NULL ? task_in_context(exact_state.traces[place]->tasks, context) : NULL;
    }
    return record != NULL ? task_of(record) : NULL;
}

/* Find the tasks that were made in this thread since the last call; return false where there are none. */
bool
steps_find_new(void)
{
    static _Thread_local const void *newest;
    int64_t unused = 0;
    if (!tasks_may_be_new(NULL, &newest, &unused, 0)) {
        return false;
    }
    for (size_t place = 0; place < exact_state.end; place++) {
        Exact *exact = exact_state.traces[place];
        int gc_was_on;
        if (exact != NULL && begin_work(exact, &gc_was_on)) {
            tasks_discover_here(exact->tasks, relative(exact, now_ns()));
            end_work(exact, gc_was_on);
        }
    }
    return true;
}

/* A step ends: note it. */
void
step_leave(void *step)
{
    OpenStep *open = step;
    int64_t end = now_ns();
    PyObject *error = PyErr_Occurred() ? fetch_exception() : NULL;
    ExactLoop *loop = open->loop;
    step_note_in_all(open, end);
    if (loop != NULL && exact_state.count > 0) {
        find_eager(open, end);
        if (open->again >= loop->first && open->again < loop->first + loop->used) {
            Scheduled *again = at_number(loop, open->again);
            again->time = end;
            memcpy(again->waker, open->track, sizeof again->waker);
        }
    }
    end_step(open);
    if (error != NULL) {
        restore_exception(error);
    }
}

/* A step has ended, but nobody knows when: note nothing. */
void
step_drop(void *step)
{
    end_step(step);
}

/* A trace begins in the middle of a step of which nobody has told, or whose trace is over: from now on it is under
 * way. */
void
step_assume(PyObject *loop, PyObject *task)
{
    contexts_drop_stale();
    OpenStep *open = current_step;
    if (open != NULL && open->loop != NULL) {
        return; /* its beginning was told */
    }
    if (open != NULL && open->is_assumed) {
        end_step(open);
        open = NULL;
    }
    ExactLoop *found = exact_loop_of(loop);
    if (found == NULL) {
        return;
    }
    if (open == NULL) {
        open = begin_step(found, task, NULL, 0);
        if (open == NULL) {
            return;
        }
        open->is_assumed = true;
    }
    else { /* its end will be told */
        open->loop = found;
        open->task = Py_NewRef(task);
        open->start = 0;
        open->ready = -1;
        found->open = open;
    }
    for (size_t place = 0; place < exact_state.end; place++) {
        open->is_seen[place] = exact_state.traces[place] != NULL;
        if (exact_state.traces[place] != NULL && exact_loop_index(found, place) != NONE) {
            exact_state.traces[place]->tasks->loops.items[found->index[place]].is_begun = true;
        }
    }
}
