/* Exact awaits: knows who schedules what, and whose child a new task is. */
#include "exact/wakers.h"
#include "cpython/inspect.h"
#include "cpython/monotonic.h"
#include "exact/ready_queues.h"
#include "hooks/handle_run.h"
#include "tasks/first_seen.h"
#include "tasks/loops.h"
#include "tasks/observe.h"

/* Return the record of the task whose step this is, which has a track then; NULL where it cannot be made. */
Task *
step_record(Exact *exact, const OpenStep *open)
{
    Task *record = task_find(exact->tasks, open->task);
    int64_t since = relative(exact, open->ready > 0 ? open->ready : open->start);
    if (record == NULL) {
        record = task_first_seen(exact->tasks, open->task, NULL, since);
    }
    else if (record->flags & TASK_WAITS_FOR_LOOP) {
        task_begin_track(exact->tasks, record, open->task, since);
    }
    return record;
}

/* Have the task of a step known to all traces. */
void
step_know_task(const OpenStep *open)
{
    for (size_t place = 0; place < exact_state.end; place++) {
        int gc_was_on;
        if (exact_state.traces[place] != NULL && begin_work(exact_state.traces[place], &gc_was_on)) {
            step_record(exact_state.traces[place], open);
            end_work(exact_state.traces[place], gc_was_on);
        }
    }
}

/* Return who schedules something just now in this thread, by a trace's numbers. */
static uint32_t
waker_in(size_t place)
{
    OpenStep *open = current_step;
    if (open == NULL || open->loop == NULL) {
        return NOBODY;
    }
    if (open->task == NULL) {
        uint32_t index = exact_loop_index(open->loop, place);
        return index == NONE ? NOBODY : CALLBACK | (uint32_t)open->source << SOURCE_SHIFT | index;
    }
    if (open->track[place] == NONE) {
        const Task *record = step_record(exact_state.traces[place], open);
        open->track[place] = record != NULL ? record->track : NONE;
    }
    return open->track[place];
}

/* Return whether a loop runs in another thread than this one. */
static bool
is_from_thread(const ExactLoop *loop)
{
    unsigned long ident = loop->ident;
    if (ident == 0) {
        long found = loop_thread(loop->loop);
        ident = found > 0 ? (unsigned long)found : 0;
    }
    return ident != 0 && ident != PyThread_get_thread_ident();
}

/* Observe a task that is new, and note whose child it is. */
void
task_note_creator(Exact *exact, Task *record, uint32_t creator, int64_t now)
{
    if (creator < CALLBACK) {
        tables_note(exact->tables, NOTE_PARENT, record->track, 0, creator, NULL);
    }
    record->flags |= TASK_HAS_OWNER;
    task_observe(exact->tasks, record, true, now);
}

/* Add a task whose first step is being scheduled by its creator, in the middle of `Task.__init__`. */
static void
created(size_t place, PyObject *task, uint32_t creator, int64_t now)
{
    Exact *exact = exact_state.traces[place];
    int gc_was_on;
    if (task_find(exact->tasks, task) != NULL || !begin_work(exact, &gc_was_on)) {
        return;
    }
    Task *record = task_first_seen(exact->tasks, task, NULL, relative(exact, now));
    if (record != NULL && record->track != NONE) {
        task_note_creator(exact, record, creator, relative(exact, now));
    }
    end_work(exact, gc_was_on);
}

/* Note when a handle was scheduled, and by whom. */
static void
note_scheduled(ExactLoop *loop, Scheduled *scheduled, PyObject *task)
{
    scheduled->time = now_ns();
    scheduled->is_from_thread = is_from_thread(loop);
    for (size_t place = 0; place < exact_state.end; place++) {
        int gc_was_on;
        if (exact_state.traces[place] != NULL && begin_work(exact_state.traces[place], &gc_was_on)) {
            bool is_outside = current_step == NULL || current_step->loop == NULL;
            scheduled->waker[place] = is_outside && scheduled->is_from_thread ? THREAD : waker_in(place);
            end_work(exact_state.traces[place], gc_was_on);
            if (task != NULL) {
                created(place, task, scheduled->waker[place], scheduled->time);
            }
        }
    }
}

/* A handle was put into a loop's queue: put it into ours. */
void
handle_scheduled(PyObject *loop, PyObject *handle)
{
    int gc_was_on = PyGC_Disable(); /* else the references that are made here could start the garbage collector */
    ExactLoop *found = exact_loop_of(loop);
    Scheduled *scheduled = found != NULL ? ready_push(found) : NULL;
    if (scheduled != NULL) {
        uint64_t number = found->first + found->used - 1;
        PyObject *callback = field_at(handle, asyncio.callback);
        PyObject *task = callback != NULL && Py_TYPE(callback) == asyncio.step ? handle_task(callback) : NULL;
        *scheduled = (Scheduled){Py_NewRef(handle), 0, {NOBODY, NOBODY, NOBODY, NOBODY}, false};
        if (task != NULL && current_step != NULL && current_step->task == task && found == current_step->loop) {
            current_step->again = number; /* a bare yield: its time is the end of this step, which is read anyway */
        }
        else {
            note_scheduled(found, scheduled, task);
        }
    }
    if (gc_was_on) {
        PyGC_Enable();
    }
}
