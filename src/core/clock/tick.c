/* A tick of a core observes every thread, then new tasks, then those that may have moved on, within a budget; the next
 * tick goes on where this one had to stop. */
#include "clock/tick.h"
#include "cpython/monotonic.h"
#include "exact/exact.h"
#include "exact/step_chunks.h"
#include "hooks/ran_marks.h"
#include "tasks/rounds.h"

/* Return whether tasks can be observed: their fields are known, and are where they were. Where they are not known, have
 * Python find them as soon as the program has imported asyncio. */
static bool
may_observe_tasks(Tasks *tasks)
{
    if (!tasks->is_attached) {
        PyObject *modules = PyImport_GetModuleDict();
        tasks->wants_asyncio = tasks->is_wanted && PyDict_GetItemString(modules, "asyncio.tasks") != NULL;
    }
    return tasks->is_attached && tasks->broken == NULL;
}

/* Observe the tasks. */
static void
observe_tasks(Core *core, int64_t now)
{
    Tasks *tasks = &core->tasks;
    if (!may_observe_tasks(tasks)) {
        return;
    }
    int64_t began = now_ns();
    loops_count_ready(&tasks->loops, now);
    tasks->marks_cover = (tasks->is_marking || core->exact != NULL) && marks_cover_loops(tasks);
    observe_new(tasks, now, began + core->tick_budget / 3);
    if (core->exact != NULL) {
        exact_observe(core->exact, now);
        visit_in_turn(tasks, now);
    }
    if (core->exact != NULL && tasks->marks_cover) {
        tasks->rounds++; /* the steps tell of all tasks that were not visited, so this counts as a round */
    }
    else if (marks_suffice(tasks)) {
        marks_visit(tasks, now, began + core->tick_budget);
    }
    else {
        observe_round(tasks, now, began + core->tick_budget);
    }
#if PY_VERSION_HEX < 0x030E0000
    /* the counts were equal before, where as many tasks came as went; now that those are dropped, they differ */
    if ((size_t)tasks->tasks->used != tasks->used) {
        observe_new(tasks, now, began + core->tick_budget);
    }
#endif
}

/* Observe new tasks only. */
static void
catch_up(Core *core, int64_t now)
{
    if (may_observe_tasks(&core->tasks)) {
        observe_new(&core->tasks, now, now_ns() + core->tick_budget / 3);
    }
}

/* Take a tick, or only search for new tasks; a sample holds from `since`. */
static void
tick_or_catch_up(Core *core, int64_t since, bool is_tick)
{
    if (core->tables.is_busy || core->tables.failed) {
        return;
    }
    core->tables.is_busy = true;
    core->tasks.is_catching_up = !is_tick;
    /* a late tick is noted as of when it was due; but a row must not be earlier than the last search for new tasks,
     * which may have come in between */
    int64_t now = since > core->pace.last_tick ? since : core->pace.last_tick;
    core->pace.last_tick = now;
    int gc_was_on = PyGC_Disable(); /* else an allocation could run the program's finalizers */
    core->walk.path.used = 0;
    core->walk.on_stack.used = 0;
    if (!is_tick) {
        catch_up(core, now);
    }
    else if (threads_walk(&core->threads, now)) {
        observe_tasks(core, now);
        threads_note(&core->threads, now);
    }
    else {
        core->tables.failed = true;
    }
    if (gc_was_on) {
        PyGC_Enable();
    }
    core->tables.is_busy = false;
}

/* Take a tick whose sample holds from `since`. */
void
core_tick(Core *core, int64_t since)
{
    tick_or_catch_up(core, since, true);
}

/* --- what the clock calls --- */

static void
tick_of(void *of, int64_t since, int64_t now)
{
    Core *core = of;
    /* steps are noted as they come, and a row must not be before them */
    core_tick(core, core->exact != NULL ? now : since);
}

static void
catch_up_of(void *of, int64_t now)
{
    tick_or_catch_up(of, now, false);
}

static bool
is_behind_of(const void *of)
{
    return ((const Core *)of)->tasks.is_behind;
}

static bool
has_work_of(const void *of)
{
    const Core *core = of;
    const Tables *tables = &core->tables;
    const Tasks *tasks = &core->tasks;
    return tasks->questions.used > 0 || tasks->foreign > 0 || tasks->wants_asyncio || tasks->is_handed_over ||
           tasks->broken != NULL || tables->failed ||
           (tasks->used > MANY_TASKS && core->exact == NULL && !tasks->is_marking && !tasks->no_marks) ||
           tables->rows_used - tables->rows_drained > MOST_ROWS || (core->exact != NULL && core->exact->has_closed);
}

static bool
spill_of(void *of)
{
    Core *core = of;
    if (core->exact != NULL) {
        chunks_spill(&core->exact->steps);
    }
    return core->exact != NULL;
}

const ClockJobs tick_jobs = {tick_of, catch_up_of, is_behind_of, has_work_of, spill_of};
