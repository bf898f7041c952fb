/* Knows which tasks ran: ``Handle._run`` (handles.c) has the task marked that it is about to step.
 *
 * With very many tasks even two reads for each are too much. Once a core asks for marks, a tick visits the
 * tasks that were marked, those that were not waiting at their last look, those in the ready queues, and a
 * few others in turn, in case a step was taken in a way that nobody marks.
 */
#include "core.h"

#define IN_TURN 64    /* records that are looked at anyway */
#define MOST_READY 256 /* handles of a ready queue that are looked at */

static Core *marking[MOST_CORES];

void
steps_mark(Tasks *tasks, Task *record)
{
    if (record->flags & TASK_IS_MARKED) {
        return;
    }
    Marked *marked = array_push(&tasks->marked, sizeof *marked);
    if (marked != NULL) {
        bool is_strong = record->flags & TASK_HAS_REFERENCE;
        *marked = (Marked){is_strong ? Py_NewRef(record->key) : record->key, record->hash, is_strong};
        record->flags |= TASK_IS_MARKED;
    }
}

static void
unmark(const Marked *marked)
{
    if (marked->is_strong) {
        Py_DECREF(marked->key);
    }
}

/* A handle runs that steps a task. */
void
steps_ran(PyObject *task)
{
    for (size_t place = 0; place < MOST_CORES && marking[place] != NULL; place++) {
        Task *record = tasks_find(&marking[place]->tasks, task);
        if (record != NULL) {
            steps_mark(&marking[place]->tasks, record);
        }
    }
}

/* A context was entered: mark the task that is stepped in it. */
PyObject *
steps_in_context(PyObject *context)
{
    PyObject *task = NULL;
    for (size_t place = 0; place < MOST_CORES && marking[place] != NULL; place++) {
        Task *record = tasks_in_context(&marking[place]->tasks, context);
        if (record != NULL) {
            task = task_of(record);
            steps_mark(&marking[place]->tasks, record);
        }
    }
    for (size_t place = 0; place < MOST_EXACT && task == NULL; place++) {
        Core *core = exact_core(place);
        const Task *record = core != NULL ? tasks_in_context(&core->tasks, context) : NULL;
        task = record != NULL ? task_of(record) : NULL;
    }
    return task;
}

bool
steps_begin(Core *core)
{
    if (!core->tasks.is_marking) {
        core->tasks.marks_from = core->tasks.rounds + 2; /* one whole round from now on */
        core->tasks.is_marking = cores_add(marking, core);
    }
    return core->tasks.is_marking;
}

void
steps_end(Core *core)
{
    cores_remove(marking, core);
    core->tasks.is_marking = false;
    core->tasks.no_marks = true;
}

/* In the child of a fork nothing is traced. */
void
steps_forget(void)
{
    while (marking[0] != NULL) {
        steps_end(marking[0]);
    }
}

/* --- a look at those that ran --- */

bool
steps_all_mark(const Tasks *tasks)
{
    for (size_t index = 0; index < tasks->loops_used; index++) {
        if (tasks->loops[index].is_compiled && weak_referent(tasks->loops[index].reference) != NULL &&
            !contexts_are_watched()) {
            return false;
        }
    }
    return true;
}

bool
steps_serve(const Tasks *tasks)
{
    return tasks->is_marking && tasks->marks_tell && tasks->rounds >= tasks->marks_from;
}

static void
visit(Core *core, Task *record, size_t item, bool ran, int64_t now)
{
    if (!tasks_look_at(core, record, ran, now)) {
        tasks_drop(&core->tasks, item);
    }
    else if (core->tasks.is_marking && !(record->flags & TASK_DONE) && !task_waits(record)) {
        steps_mark(&core->tasks, record); /* it runs, or is about to: again at the next tick */
    }
    else if (core->tasks.marks_tell && (record->flags & TASK_HAS_WEAK)) { /* from before there were marks: it takes memory */
        tasks_note_waiter(&core->tasks, record, weak_referent(record->waiter));
    }
}

static void
visit_ready(Core *core, int64_t now)
{
    for (size_t index = 0; index < core->tasks.loops_used; index++) {
        const Loop *loop = &core->tasks.loops[index];
        PyObject *alive = weak_referent(loop->reference);
        PyObject *ready = loop->ready > 0 && alive != NULL ? ready_queue(alive) : NULL;
        Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : 0;
        for (Py_ssize_t place = 0; place < count && place < MOST_READY; place++) {
            PyObject *handle = PySequence_GetItem(ready, place);
            if (handle != NULL && PyObject_TypeCheck(handle, asyncio.handle)) {
                PyObject *task = handle_task(handle_slot(handle, asyncio.callback));
                Task *record = task != NULL ? tasks_find(&core->tasks, task) : NULL;
                if (record != NULL) { /* it is alive, so it is not dropped, and needs no number */
                    visit(core, record, 0, false, now);
                }
            }
            Py_XDECREF(handle);
        }
        Py_XDECREF(ready);
        PyErr_Clear();
    }
}

/* Look at some records in turn. */
void
steps_in_turn(Core *core, int64_t now)
{
    Tasks *tasks = &core->tasks;
    for (int count = 0; count < IN_TURN && tasks->used > 0; count++) {
        size_t item = tasks->next = tasks->next < tasks->used ? tasks->next : 0;
        visit(core, tasks_at(tasks, item), item, false, now);
        tasks->next++;
    }
}

void
steps_look(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    Array marked = tasks->marked;
    tasks->marked = (Array){0};
    for (size_t place = 0; place < marked.used; place++) {
        Marked *each = &((Marked *)marked.items)[place];
        size_t item = 0;
        Task *record = tasks_by_key(tasks, each->hash, each->key, &item);
        if (record != NULL) {
            record->flags &= (uint16_t)~TASK_IS_MARKED;
            if (place % 64 == 63 && now_ns() > until) {
                steps_mark(tasks, record); /* no time: at the next tick */
                until = 0;
            }
            else if (until == 0) {
                steps_mark(tasks, record);
            }
            else {
                visit(core, record, item, true, now);
            }
        }
        unmark(each);
    }
    array_free(&marked);
    visit_ready(core, now);
    steps_in_turn(core, now);
    tasks->rounds += until != 0;
    tasks->left_over = 0;
}

void
steps_free(Tasks *tasks)
{
    for (size_t place = 0; place < tasks->marked.used; place++) {
        unmark(&((Marked *)tasks->marked.items)[place]);
    }
    array_free(&tasks->marked);
}
