/* Exact awaits: what is noted of a step or of a callback when it ends; chunks.c keeps it. */
#include "exact/exact.h"

#define MOST_ASKS 1000 /* questions that wait for Python; more are not put */

static void
step_of_task(Core *core, Task *record, PyObject *task, Step *step)
{
    PyObject *waiter = tasks_field(task, core->tasks.at.waiter), *coro = tasks_field(task, core->tasks.at.coro);
    tasks_rename(core, record, task, !(record->flags & TASK_HAS_STEPPED));
    record->flags |= TASK_HAS_STEPPED;
    if (waiter == NULL && (coro == NULL || future_state(&core->tasks, task) != 0)) {
        tables_note(&core->tables, NOTE_END, record->track, step->end, 0, NULL);
        step->stack = (uint32_t)GONE;
        return;
    }
    AskKind ask = ASK_KINDS;
    record->stack = tasks_chain(core, record, task, waiter, step->end, &record->detail, &ask);
    step->stack = (uint32_t)record->stack;
    step->detail = record->detail;
    if (ask != ASK_KINDS && core->tasks.asks.used < MOST_ASKS) {
        tasks_note_waiter(&core->tasks, record, waiter); /* the question goes by it */
        Ask *asked = put_question(core, record, ask, NULL);
        if (asked != NULL) {
            asked->row = core->exact->count | STEP_ROW;
            asked->time = step->end;
        }
    }
}

static void
note_task(size_t place, Turn *turn, Step *step)
{
    Core *core = exacts.cores[place];
    Task *record = exact_known(core, turn);
    if (record == NULL || record->track == NONE || (record->flags & TASK_DONE)) {
        return;
    }
    step->track = record->track;
    turn->track[place] = record->track;
    step_of_task(core, record, turn->task, step);
    chunks_keep(core, step);
    if (step->stack == (uint32_t)GONE) {
        tasks_forget(&core->tasks, record);
    }
}

/* Say of a step which callback it was; false where that is not to be noted. */
static bool
is_callback(size_t place, const Turn *turn, Step *step)
{
    uint32_t index = exact_index_in(turn->loop, place);
    if (index == NONE || turn->callback == asyncio.nothing) {
        return false;
    }
    step->track = CALLBACK | index;
    step->stack = callbacks_number(exacts.cores[place], turn->callback);
    step->detail = (uint32_t)turn->source;
    return true;
}

static void
note_callback(size_t place, const Turn *turn, Step *step)
{
    if (is_callback(place, turn, step)) {
        chunks_keep(exacts.cores[place], step);
    }
}

static void
note(size_t place, Turn *turn, int64_t end)
{
    Core *core = exacts.cores[place];
    int collects;
    if (!begin_work(core, &collects)) {
        core->exact->lost++;
        return;
    }
    Step step = {.start = relative(core, turn->start),
                 .end = relative(core, end),
                 .ready = turn->ready < 0 ? -1 : relative(core, turn->ready),
                 .waker = turn->waker[place]};
    if (turn->task != NULL) {
        note_task(place, turn, &step);
    }
    else {
        note_callback(place, turn, &step);
    }
    end_work(core, collects);
}

void
exact_note_in_all(Turn *turn, int64_t end)
{
    for (size_t place = 0; place < exacts.places && turn->loop != NULL; place++) {
        if (exacts.cores[place] != NULL && turn->is_seen[place]) {
            note(place, turn, end);
        }
    }
}

/* --- steps whose beginning or end nobody saw --- */

/* The tasks of a loop that were in a step when the trace began: its end was seen by nobody, but it was just now,
 * before the first handle that we see. */
static void
end_first_steps(size_t place, uint32_t index, int64_t now)
{
    Core *core = exacts.cores[place];
    int collects;
    if (index == NONE || core->tasks.loops[index].is_begun || !begin_work(core, &collects)) {
        return;
    }
    core->tasks.loops[index].is_begun = true;
    for (size_t item = 0; item < core->tasks.used; item++) {
        Task *record = tasks_at(&core->tasks, item);
        PyObject *task = task_of(record);
        bool was_running = record->loop == index && record->detail == 0 && record->track != NONE;
        if (task != NULL && was_running && !(record->flags & (TASK_HAS_STEPPED | TASK_DONE))) {
            Step step = {.start = 0, .end = relative(core, now), .ready = -1, .track = record->track, .waker = NOBODY};
            step_of_task(core, record, task, &step);
            chunks_keep(core, &step);
            if (step.stack == (uint32_t)GONE) {
                record->flags |= TASK_DONE;
            }
        }
    }
    end_work(core, collects);
}

void
exact_end_first_steps(ExactLoop *loop, int64_t now)
{
    for (size_t place = 0; place < exacts.places; place++) {
        if (exacts.cores[place] != NULL) {
            end_first_steps(place, exact_index_in(loop, place), now);
        }
    }
}

/* A step that is under way, as if it ended now; false where there is nothing to say of it. */
bool
exact_so_far(Core *core, size_t place, const Turn *turn, int64_t now, Step *step)
{
    if (turn->loop == NULL || !turn->is_seen[place]) {
        return false;
    }
    *step = (Step){.start = relative(core, turn->start),
                   .end = now,
                   .ready = turn->ready < 0 ? -1 : relative(core, turn->ready),
                   .waker = turn->waker[place]};
    if (turn->task == NULL) {
        return is_callback(place, turn, step);
    }
    const Task *record = tasks_find(&core->tasks, turn->task);
    if (record == NULL || record->track == NONE) {
        return false;
    }
    step->track = record->track;
    step->stack = (uint32_t)record->stack;
    return true;
}

/* --- a tick --- */

/* Look at the tasks that are in a step, whose frames the ticks show, and at a few others, which may be gone. */
void
exact_look(Core *core, int64_t now)
{
    for (ExactLoop *loop = exacts.loops; loop != NULL; loop = loop->next) {
        exact_end_closed(core, loop, now);
        PyObject *task = loop->turn != NULL ? loop->turn->task : NULL;
        Task *record = task != NULL ? tasks_find(&core->tasks, task) : NULL;
        if (record != NULL) {
            record->stack = GONE; /* what the last step showed is no longer so: a row is due */
            tasks_look_at(core, record, true, now);
        }
    }
    steps_in_turn(core, now);
}
