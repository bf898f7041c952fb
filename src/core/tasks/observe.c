/* Observes a task: its await chain, and what it waits for.
 *
 * The twin is `fgtrace._sampling.collect.tasks`, which tells the reasons. A task is one record of 40 bytes. A task
 * whose waiter is the same future as at the last tick, and pending, has not run: that comparison is all that an idle
 * task costs.
 */
#include "tasks/observe.h"
#include "tasks/discovery.h"
#include "tasks/first_seen.h"
#include "tasks/waiters.h"

/* End a task's track; `task` is NULL where it is gone. */
static void
gone(Tasks *tasks, Task *record, PyObject *task, int64_t now)
{
    record->flags |= TASK_DONE;
    task_forget_waiter(record);
    if (record->track != NONE) {
        if (task != NULL) {
            task_rename(tasks, record, task, false);
        }
        tables_note(tasks->tables, NOTE_END, record->track, now, 0, NULL);
        tables_observe(tasks->tables, now, record->track, GONE, 0);
    }
}

/* Return the stack of a running task: the frames of its thread, from the task's own coroutine to the leaf. */
static int32_t
running_stack(Tasks *tasks, Task *record, PyObject *coro)
{
    Path *path = &tasks->walk->path;
    const OnStack *found = tasks->walk->on_stack.items;
    Frame *frame = gen_check(coro) ? gen_frame((Gen *)coro) : NULL;
    for (size_t place = 0; frame != NULL && place < tasks->walk->on_stack.used; place++) {
        if (found[place].frame == frame) {
            if (found[place].ident != tasks->loops.items[record->loop].ident) {
                loop_set_thread(&tasks->loops, record->loop, found[place].ident);
            }
            return tables_stack_reversed(tasks->tables, path->items + found[place].first,
                                         found[place].place - found[place].first + 1);
        }
    }
    /* The thread is inside a greenlet, whose frames do not lead back to the coroutine. */
    size_t start = path->used;
    PyCodeObject *code = frame != NULL ? frame_code(frame) : NULL;
    if (code != NULL) {
        path_push(path, walk_element(tasks->tables, frame, code));
    }
    for (size_t place = 0; place < tasks->threads->used; place++) {
        const Thread *thread = &tasks->threads->items[place];
        for (size_t at = thread->count; thread->ident == tasks->loops.items[record->loop].ident && at-- > 0;) {
            path_push(path, path->items[thread->first + at]);
        }
    }
    int32_t stack = tables_stack(tasks->tables, path->items + start, path->used - start);
    path->used = start;
    return stack;
}

/* Return whether a coroutine runs just now. */
static bool
is_executing(PyObject *coro)
{
    return gen_check(coro) && ((Gen *)coro)->gi_frame_state == GEN_EXECUTING;
}

/* Remember what a task waits for. Where a future of the program's own allows no weak reference, its task is observed
 * at each tick. */
void
task_note_waiter(Tasks *tasks, Task *record, PyObject *waiter)
{
    if (waiter != NULL && (record->flags & TASK_HAS_WEAK) && weak_referent(record->waiter) == waiter &&
        !tasks->marks_cover) {
        return;
    }
    task_forget_waiter(record);
    if (waiter == NULL) {
        return;
    }
    bool is_plain = future_state(tasks, waiter) >= 0;
    if (tasks->marks_cover && is_plain) {
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

/* Return the stack of what a suspended task awaits; `detail` becomes its waiter's number, and `question` what Python
 * has to judge. */
int32_t
task_chain(Tasks *tasks, Task *record, PyObject *task, PyObject *waiter, int64_t now, uint32_t *detail,
           QuestionKind *question)
{
    Gen *leaf;
    tasks->walk->chain.used = 0;
    bool is_whole = walk_chain(&tasks->walk->link_types, &tasks->walk->chain, field_at(task, tasks->at.coro), &leaf);
    int32_t stack = walk_stack(tasks->tables, &tasks->walk->path, &tasks->walk->chain, record->stack, &is_whole);
    if (!is_whole) {
        *question = QUESTION_CHAIN;
    }
    *detail = RUNNABLE;
    if (waiter == NULL || future_state(tasks, waiter) > 0) {
        return stack;
    }
    if (!waiter_read(tasks, record, waiter, leaf, detail, question)) {
        task_first_seen(tasks, waiter, NULL, now);
        /* there was no memory for the task's record */
        if (!waiter_read(tasks, record, waiter, leaf, detail, question)) {
            *detail = waiter_intern(tasks, KIND_TASK, Py_TYPE(waiter), NONE);
        }
    }
    return stack;
}

/* Return whether steps tell what a task does: then the ticks show only what it runs. */
static bool
is_told(const Tasks *tasks, const Task *record)
{
    return (record->flags & TASK_HAS_STEPPED) && tasks->loops.items[record->loop].is_exact;
}

/* Append a row for a task that may have moved on. */
static void
changed(Tasks *tasks, Task *record, PyObject *task, PyObject *waiter, int64_t now)
{
    PyObject *coro = field_at(task, tasks->at.coro);
    if (coro == NULL || (waiter == NULL && future_state(tasks, task) != 0)) {
        if (!is_told(tasks, record)) { /* of other tasks the end of the step tells */
            gone(tasks, record, task, now);
        }
        return;
    }
    if (waiter == NULL && tasks->is_catching_up && is_executing(coro)) {
        return; /* the threads' frames are not at hand: the next tick observes the task */
    }
    /* asyncio may name a task after it has made it: what it is called when its first step ends is its first name */
    bool is_new = tasks->loops.items[record->loop].is_exact && !(record->flags & TASK_HAS_STEPPED);
    task_rename(tasks, record, task, is_new);
    if (is_told(tasks, record) && !(waiter == NULL && is_executing(coro))) {
        return;
    }
    if (!(record->flags & TASK_HAS_OWNER)) {
        record->flags |= TASK_HAS_OWNER;
        task_note_parent(tasks, record, task, now);
    }
    task_note_waiter(tasks, record, waiter);
    int32_t stack;
    uint32_t detail = RUNNING;
    QuestionKind question = NO_QUESTION;
    if (waiter == NULL && is_executing(coro)) {
        stack = running_stack(tasks, record, coro);
    }
    else {
        stack = task_chain(tasks, record, task, waiter, now, &detail, &question);
    }
    if (stack != record->stack || detail != record->detail || question != NO_QUESTION) {
        record->stack = stack;
        record->detail = detail;
        Row *row = tables_observe(tasks->tables, now, record->track, stack, detail);
        if (question != NO_QUESTION && row != NULL) {
            question_put(tasks, record, question, row);
        }
    }
}

/* Return whether a task's waiter is the one that was noted. */
static bool
is_waiter(const Task *record, PyObject *waiter)
{
    if (waiter == NULL || record->waiter == NULL) {
        return false;
    }
    return record->flags & TASK_HAS_WEAK ? weak_referent(record->waiter) == waiter
                                         : record->waiter == waiter && !(record->flags & TASK_IS_MARKED);
}

/* Observe a task; return false where it is gone, and its record may be dropped. */
bool
task_observe(Tasks *tasks, Task *record, bool ran, int64_t now)
{
    PyObject *task = task_of(record);
    if (task == NULL) {
        if (!(record->flags & TASK_DONE)) {
            gone(tasks, record, NULL, now);
        }
        return false;
    }
    if (record->flags & TASK_DONE) {
        return true;
    }
    PyObject *waiter = field_at(task, tasks->at.waiter);
    if (!ran && is_waiter(record, waiter) &&
        (record->detail == RUNNABLE) == (future_state(tasks, waiter) > 0)) {
        return true;
    }
    if (record->flags & TASK_WAITS_FOR_LOOP) {
        task_begin_track(tasks, record, task, now);
    }
    if (record->track != NONE && !(record->flags & TASK_DONE)) {
        changed(tasks, record, task, waiter, now);
    }
    return true;
}

/* End the tracks of all tasks. */
void
tasks_end_all(Tasks *tasks, int64_t now)
{
    for (size_t item = 0; item < tasks->used; item++) {
        if (!(task_at(tasks, item)->flags & TASK_DONE)) {
            gone(tasks, task_at(tasks, item), NULL, now);
        }
    }
}

/* Free everything, with the references that are held. */
void
tasks_free(Tasks *tasks)
{
    tasks_clear(tasks);
    loops_free(&tasks->loops);
    questions_free(tasks);
    waiters_free(tasks);
    discovery_free(tasks);
    Py_CLEAR(tasks->task_type);
    Py_CLEAR(tasks->future_type);
    *tasks = (Tasks){0};
}
