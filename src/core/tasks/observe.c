/* Every asyncio task: its await chain, and what it waits for. The twin of `fgtrace._collect.asyncio_tasks`,
 * which tells the reasons.
 *
 * A task is one record of 40 bytes. One whose waiter is the same future as at the last look, and
 * pending, has not run: that comparison is all that an idle task costs.
 */
#include "core.h"

static void
gone(Core *core, Task *record, PyObject *task, int64_t now)
{
    record->flags |= TASK_DONE;
    records_forget_waiter(record);
    if (record->track != NONE) {
        if (task != NULL) {
            tasks_rename(core, record, task, false);
        }
        tables_note(&core->tables, NOTE_END, record->track, now, 0, NULL);
        tables_observe(&core->tables, now, record->track, GONE, 0);
    }
}

/* The frames of a running task: those on its thread, from its own coroutine to the leaf. */
static int32_t
running_stack(Core *core, Task *record, PyObject *coro)
{
    Path *path = &core->path;
    const OnStack *found = core->on_stack.items;
    Frame *frame = gen_check(coro) ? gen_frame((Gen *)coro) : NULL;
    for (size_t place = 0; frame != NULL && place < core->on_stack.used; place++) {
        if (found[place].frame == frame) {
            if (found[place].ident != core->tasks.loops[record->loop].ident) {
                place_loop(core, record->loop, found[place].ident);
            }
            return tables_stack_reversed(&core->tables, path->items + found[place].first,
                                         found[place].place - found[place].first + 1);
        }
    }
    /* Its thread is inside a greenlet, whose frames do not lead back to the coroutine. */
    size_t start = path->used;
    PyCodeObject *code = frame != NULL ? frame_code(frame) : NULL;
    if (code != NULL) {
        path_push(path, walk_element(&core->tables, frame, code));
    }
    for (size_t place = 0; place < core->threads.used; place++) {
        const Thread *thread = &core->threads.items[place];
        for (size_t at = thread->count; thread->ident == core->tasks.loops[record->loop].ident && at-- > 0;) {
            path_push(path, path->items[thread->first + at]);
        }
    }
    int32_t stack = tables_stack(&core->tables, path->items + start, path->used - start);
    path->used = start;
    return stack;
}

static bool
is_executing(PyObject *coro)
{
    return gen_check(coro) && ((Gen *)coro)->gi_frame_state == GEN_EXECUTING;
}

/* Remember what a task waits for. A future of the program's own may allow no weak reference: then its task is
 * looked at each tick. */
void
tasks_note_waiter(Tasks *tasks, Task *record, PyObject *waiter)
{
    if (waiter != NULL && (record->flags & TASK_HAS_WEAK) && weak_referent(record->waiter) == waiter &&
        !tasks->marks_tell) {
        return;
    }
    records_forget_waiter(record);
    if (waiter == NULL) {
        return;
    }
    bool is_plain = future_state(tasks, waiter) >= 0;
    if (tasks->marks_tell && is_plain) {
        record->waiter = waiter;
        record->flags |= TASK_WAITS_PLAINLY;
        return;
    }
    record->waiter = PyWeakref_NewRef(waiter, NULL);
    PyErr_Clear();
    if (record->waiter != NULL) {
        record->flags |= (uint16_t)(TASK_HAS_WEAK | (is_plain ? TASK_WAITS_PLAINLY : 0));
    }
}

/* What a suspended task awaits, and what its waiter is. */
int32_t
tasks_chain(Core *core, Task *record, PyObject *task, PyObject *waiter, int64_t now, uint32_t *detail, AskKind *ask)
{
    Gen *leaf;
    core->chain.used = 0;
    bool is_whole = walk_chain(&core->links, &core->chain, tasks_field(task, core->tasks.at.coro), &leaf);
    int32_t stack = walk_stack(&core->tables, &core->path, &core->chain, record->stack, &is_whole);
    if (!is_whole) {
        *ask = ASK_CHAIN;
    }
    *detail = 1; /* runnable */
    if (waiter != NULL && future_state(&core->tasks, waiter) <= 0) {
        waits_read(core, record, waiter, leaf, now, detail, ask);
    }
    return stack;
}

/* Whether steps tell what a task does: of it the ticks see only what it runs. */
static bool
is_told(const Core *core, const Task *record)
{
    return (record->flags & TASK_HAS_STEPPED) && core->tasks.loops[record->loop].is_exact;
}

static void
changed(Core *core, Task *record, PyObject *task, PyObject *waiter, int64_t now)
{
    Tasks *tasks = &core->tasks;
    PyObject *coro = tasks_field(task, tasks->at.coro);
    if (coro == NULL || (waiter == NULL && future_state(tasks, task) != 0)) {
        if (!is_told(core, record)) { /* else the end of its step will tell */
            gone(core, record, task, now);
        }
        return;
    }
    if (waiter == NULL && core->is_catching_up && is_executing(coro)) {
        return; /* the threads' frames are not at hand: the next tick has them */
    }
    tasks_rename(core, record, task, false);
    if (is_told(core, record) && !(waiter == NULL && is_executing(coro))) {
        return;
    }
    if (!(record->flags & TASK_HAS_OWNER)) {
        record->flags |= TASK_HAS_OWNER;
        waits_owner(core, record, task);
    }
    tasks_note_waiter(tasks, record, waiter);
    int32_t stack;
    uint32_t detail = 0; /* running */
    AskKind ask = ASK_KINDS;
    if (waiter == NULL && is_executing(coro)) {
        stack = running_stack(core, record, coro);
    }
    else {
        stack = tasks_chain(core, record, task, waiter, now, &detail, &ask);
    }
    if (stack != record->stack || detail != record->detail || ask != ASK_KINDS) {
        record->stack = stack;
        record->detail = detail;
        Row *row = tables_observe(&core->tables, now, record->track, stack, detail);
        if (ask != ASK_KINDS && row != NULL) {
            put_question(core, record, ask, row);
        }
    }
}

/* Whether the task's waiter is the one that was noted. */
static bool
is_waiter(const Task *record, PyObject *waiter)
{
    if (waiter == NULL || record->waiter == NULL) {
        return false;
    }
    return record->flags & TASK_HAS_WEAK ? weak_referent(record->waiter) == waiter
                                         : record->waiter == waiter && !(record->flags & TASK_IS_MARKED);
}

/* Look at one record; false where it was the last sight of it. */
bool
tasks_look_at(Core *core, Task *record, bool ran, int64_t now)
{
    PyObject *task = task_of(record);
    if (task == NULL) {
        if (!(record->flags & TASK_DONE)) {
            gone(core, record, NULL, now);
        }
        return false;
    }
    if (record->flags & TASK_DONE) {
        return true;
    }
    PyObject *waiter = tasks_field(task, core->tasks.at.waiter);
    if (!ran && is_waiter(record, waiter) &&
        (record->detail == 1) == (future_state(&core->tasks, waiter) > 0)) {
        return true;
    }
    if (record->flags & TASK_WAITS_FOR_LOOP) {
        tasks_promote(core, record, task, now);
    }
    if (record->track != NONE && !(record->flags & TASK_DONE)) {
        changed(core, record, task, waiter, now);
    }
    return true;
}

void
tasks_end_all(Core *core, int64_t now)
{
    for (size_t item = 0; item < core->tasks.used; item++) {
        if (!(tasks_at(&core->tasks, item)->flags & TASK_DONE)) {
            gone(core, tasks_at(&core->tasks, item), NULL, now);
        }
    }
}

void
tasks_free(Tasks *tasks)
{
    records_free(tasks);
    for (size_t index = 0; index < tasks->loops_used; index++) {
        Py_DECREF(tasks->loops[index].reference);
    }
    for (size_t item = 0; item < tasks->asks.used; item++) {
        Py_DECREF(((Ask *)tasks->asks.items)[item].reference);
        Py_XDECREF(((Ask *)tasks->asks.items)[item].waiter);
    }
    for (size_t item = 0; item < tasks->waits.used; item++) {
        Py_XDECREF(((WaitKey *)tasks->waits.items)[item].type);
    }
    Py_CLEAR(tasks->task_type);
    Py_CLEAR(tasks->future_type);
    Py_CLEAR(tasks->tasks);
    Py_CLEAR(tasks->eager);
    for (size_t item = 0; item < tasks->cuts.used; item++) {
        Py_XDECREF(((Cut *)tasks->cuts.items)[item].reference);
    }
    array_free(&tasks->cuts);
    steps_free(tasks);
    free(tasks->shadow);
    free(tasks->loops);
    free(tasks->wait_index.slots);
    array_free(&tasks->waits);
    array_free(&tasks->asks);
    *tasks = (Tasks){0};
}
