/* Exact awaits: notes a step of a task, or a callback, when it ends. */
#include "exact/step_notes.h"
#include "cpython/inspect.h"
#include "exact/ready_queues.h"
#include "exact/wakers.h"
#include "hooks/handle_run.h"
#include "tasks/first_seen.h"
#include "tasks/observe.h"
#include "tasks/questions.h"

#define MOST_QUESTIONS 1000 /* questions that may wait for Python; more are not put */

/* Fill in what a task's step ended with: the task's stack and waiter, or that the task ended. */
static void
step_of_task(Exact *exact, Task *record, PyObject *task, Step *step)
{
    PyObject *waiter = field_at(task, exact->tasks->at.waiter), *coro = field_at(task, exact->tasks->at.coro);
    task_rename(exact->tasks, record, task, !(record->flags & TASK_HAS_STEPPED));
    record->flags |= TASK_HAS_STEPPED;
    if (waiter == NULL && (coro == NULL || future_state(exact->tasks, task) != 0)) {
        tables_note(exact->tables, NOTE_END, record->track, step->end, 0, NULL);
        step->stack = (uint32_t)GONE;
        return;
    }
    QuestionKind kind = NO_QUESTION;
    record->stack = task_chain(exact->tasks, record, task, waiter, step->end, &record->detail, &kind);
    step->stack = (uint32_t)record->stack;
    step->detail = record->detail;
    if (kind != NO_QUESTION && exact->tasks->questions.used < MOST_QUESTIONS) {
        task_note_waiter(exact->tasks, record, waiter); /* the answer is right only while the task waits for this */
        Question *question = question_put(exact->tasks, record, kind, NULL);
        if (question != NULL) {
            question->row = exact->steps.count | STEP_ROW;
            question->time = step->end;
        }
    }
}

/* Note the step of a task in one trace. */
static void
note_task(size_t place, OpenStep *open, Step *step)
{
    Exact *exact = exact_state.traces[place];
    Task *record = step_record(exact, open);
    if (record == NULL || record->track == NONE || (record->flags & TASK_DONE)) {
        return;
    }
    step->track = record->track;
    open->track[place] = record->track;
    step_of_task(exact, record, open->task, step);
    chunks_keep(&exact->steps, step);
    if (step->stack == (uint32_t)GONE) {
        task_forget(exact->tasks, record);
    }
}

/* Fill in a callback's part of a step; return false where a trace is not to note it. */
static bool
fill_in_callback(size_t place, const OpenStep *open, Step *step)
{
    Exact *exact = exact_state.traces[place];
    uint32_t index = exact_loop_index(open->loop, place);
    if (index == NONE || open->callback == asyncio.nothing) {
        return false;
    }
    step->track = CALLBACK | index;
    step->stack = callbacks_number(&exact->callbacks, exact->tables, open->callback);
    step->detail = (uint32_t)open->source;
    return true;
}

/* Note a callback in one trace. */
static void
note_callback(size_t place, const OpenStep *open, Step *step)
{
    if (fill_in_callback(place, open, step)) {
        chunks_keep(&exact_state.traces[place]->steps, step);
    }
}

/* Note a step in one trace. */
static void
note(size_t place, OpenStep *open, int64_t end)
{
    Exact *exact = exact_state.traces[place];
    int gc_was_on;
    if (!begin_work(exact, &gc_was_on)) {
        exact->steps.lost++;
        return;
    }
    Step step = {.start = relative(exact, open->start),
                 .end = relative(exact, end),
                 .ready = open->ready < 0 ? -1 : relative(exact, open->ready),
                 .waker = open->waker[place]};
    if (open->task != NULL) {
        note_task(place, open, &step);
    }
    else {
        note_callback(place, open, &step);
    }
    end_work(exact, gc_was_on);
}

/* Note a step in all traces that saw it begin. */
void
step_note_in_all(OpenStep *open, int64_t end)
{
    for (size_t place = 0; place < exact_state.end && open->loop != NULL; place++) {
        if (exact_state.traces[place] != NULL && open->is_seen[place]) {
            note(place, open, end);
        }
    }
}

/* --- steps whose beginning or end was not seen --- */

/* Note the steps that the tasks of a loop were in when the trace began. Nobody saw their ends, but these were just
 * now, before the first handle that we see. */
static void
end_first_steps_in(size_t place, uint32_t index, int64_t now)
{
    Exact *exact = exact_state.traces[place];
    int gc_was_on;
    if (index == NONE || exact->tasks->loops.items[index].is_begun || !begin_work(exact, &gc_was_on)) {
        return;
    }
    exact->tasks->loops.items[index].is_begun = true;
    for (size_t item = 0; item < exact->tasks->used; item++) {
        Task *record = task_at(exact->tasks, item);
        PyObject *task = task_of(record);
        bool was_running = record->loop == index && record->detail == RUNNING && record->track != NONE;
        if (task != NULL && was_running && !(record->flags & (TASK_HAS_STEPPED | TASK_DONE))) {
            Step step = {.start = 0, .end = relative(exact, now), .ready = -1, .track = record->track, .waker = NOBODY};
            step_of_task(exact, record, task, &step);
            chunks_keep(&exact->steps, &step);
            if (step.stack == (uint32_t)GONE) {
                record->flags |= TASK_DONE;
            }
        }
    }
    end_work(exact, gc_was_on);
}

/* Note, in all traces, the steps that the tasks of a loop were in when the trace began. */
void
end_first_steps(ExactLoop *loop, int64_t now)
{
    for (size_t place = 0; place < exact_state.end; place++) {
        if (exact_state.traces[place] != NULL) {
            end_first_steps_in(place, exact_loop_index(loop, place), now);
        }
    }
}

/* Fill in a step that is under way as if it ended now; return false where there is nothing to say of it. */
bool
step_so_far(Exact *exact, size_t place, const OpenStep *open, int64_t now, Step *step)
{
    if (open->loop == NULL || !open->is_seen[place]) {
        return false;
    }
    *step = (Step){.start = relative(exact, open->start),
                   .end = now,
                   .ready = open->ready < 0 ? -1 : relative(exact, open->ready),
                   .waker = open->waker[place]};
    if (open->task == NULL) {
        return fill_in_callback(place, open, step);
    }
    const Task *record = task_find(exact->tasks, open->task);
    if (record == NULL || record->track == NONE) {
        return false;
    }
    step->track = record->track;
    step->stack = (uint32_t)record->stack;
    return true;
}
