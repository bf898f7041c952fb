/* Knows which tasks ran: ``Handle._run`` marks the task that it is about to step, then does what it did.
 *
 * With very many tasks even two reads for each are too much. Once a core asks for marks, a tick visits the
 * tasks that were marked, those that were not waiting at their last look, those in the ready queues, and a
 * few others in turn, in case a step was taken in a way that nobody marks.
 */
#include "core.h"
#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#endif

#define MOST_CORES 16
#define IN_TURN 64    /* records that are looked at anyway */
#define MOST_READY 256 /* handles of a ready queue that are looked at */

static Core *marking[MOST_CORES]; /* borrowed: a core takes itself out before it goes */
static PyObject *stock;           /* strong: what ``Handle._run`` was before */
static PyTypeObject *handle_type; /* strong: asyncio's Handle */
static Py_ssize_t callback_offset;
static PyTypeObject *step_type;   /* strong: asyncio's TaskStepMethWrapper, which holds the task first */

static PyObject * /* borrowed: the task that a callback steps or wakes, or NULL */
task_of(PyObject *callback)
{
    if (callback == NULL) {
        return NULL;
    }
    if (Py_TYPE(callback) == step_type) {
        return *(PyObject **)((char *)callback + sizeof(PyObject));
    }
    return PyCFunction_Check(callback) ? PyCFunction_GET_SELF(callback) : NULL;
}

void
steps_mark(Tasks *tasks, Task *record)
{
    if (record->flags & TASK_IS_MARKED) {
        return;
    }
    Marked *marked = array_push(&tasks->marked, sizeof *marked);
    if (marked != NULL) {
        *marked = (Marked){Py_NewRef(record->reference), record->hash};
        record->flags |= TASK_IS_MARKED;
    }
}

static PyObject *
handle_run(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *task = task_of(*(PyObject **)((char *)self + callback_offset));
    for (size_t place = 0; task != NULL && place < MOST_CORES && marking[place] != NULL; place++) {
        Task *record = tasks_find(&marking[place]->tasks, task);
        if (record != NULL) {
            steps_mark(&marking[place]->tasks, record);
        }
    }
    return PyObject_CallOneArg(stock, self);
}

static PyMethodDef run_definition = {"_run", handle_run, METH_NOARGS, "Run the callback; marks its task for fgtrace."};

/* A method for asyncio's Handle that marks, and calls what is there now. */
PyObject *
steps_method(PyTypeObject *handle, PyTypeObject *step)
{
    PyObject *before = PyObject_GetAttrString((PyObject *)handle, "_run");
    PyObject *slot = PyObject_GetAttrString((PyObject *)handle, "_callback");
    PyObject *method = NULL;
    if (before != NULL && slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        callback_offset = ((PyMemberDescrObject *)slot)->d_member->offset;
        Py_XSETREF(stock, Py_NewRef(before));
        Py_XSETREF(handle_type, (PyTypeObject *)Py_NewRef(handle));
        Py_XSETREF(step_type, (PyTypeObject *)Py_NewRef(step));
        method = PyDescr_NewMethod(handle, &run_definition);
    }
    else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "asyncio's Handle is not what it was");
    }
    Py_XDECREF(before);
    Py_XDECREF(slot);
    return method;
}

bool
steps_begin(Core *core)
{
    for (size_t place = 0; place < MOST_CORES; place++) {
        if (marking[place] == core) {
            return true;
        }
        if (marking[place] == NULL) {
            marking[place] = core;
            core->tasks.marks_from = core->tasks.rounds + 2; /* one whole round from now on */
            core->tasks.is_marking = true;
            return true;
        }
    }
    return false;
}

void
steps_end(Core *core)
{
    size_t place = 0, last = 0;
    while (last < MOST_CORES && marking[last] != NULL) {
        place = marking[last] == core ? last : place;
        last++;
    }
    if (last > 0 && marking[place] == core) {
        marking[place] = marking[last - 1];
        marking[last - 1] = NULL;
    }
    core->tasks.is_marking = false;
    core->tasks.no_marks = true;
}

/* --- a look at those that ran --- */

bool
steps_all_mark(const Tasks *tasks)
{
    for (size_t index = 0; index < tasks->loops_used; index++) {
        if (tasks->loops[index].ready < 0 && weak_referent(tasks->loops[index].reference) != NULL) {
            return false; /* compiled: it has handles of its own */
        }
    }
    return true;
}

bool
steps_serve(const Tasks *tasks)
{
    return tasks->marks_tell && tasks->rounds >= tasks->marks_from;
}

static void
visit(Core *core, Task *record, size_t item, bool ran, int64_t now)
{
    if (!tasks_look_at(core, record, ran, now)) {
        tasks_drop(&core->tasks, item);
    }
    else if (!(record->flags & TASK_DONE) && !task_waits(record)) {
        steps_mark(&core->tasks, record); /* it runs, or is about to: again at the next tick */
    }
    else if (record->flags & TASK_HAS_WEAK) { /* from before there were marks: it takes memory */
        tasks_note_waiter(&core->tasks, record, weak_referent(record->waiter));
    }
}

static void
visit_ready(Core *core, int64_t now)
{
    for (size_t index = 0; index < core->tasks.loops_used; index++) {
        const Loop *loop = &core->tasks.loops[index];
        PyObject *alive = weak_referent(loop->reference);
        PyObject *ready = loop->ready > 0 && alive != NULL ? attribute(alive, "_ready") : NULL;
        Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : 0;
        for (Py_ssize_t place = 0; place < count && place < MOST_READY; place++) {
            PyObject *handle = PySequence_GetItem(ready, place);
            if (handle != NULL && PyObject_TypeCheck(handle, handle_type)) {
                PyObject *task = task_of(*(PyObject **)((char *)handle + callback_offset));
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

void
steps_look(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    Array marked = tasks->marked;
    tasks->marked = (Array){0};
    for (size_t place = 0; place < marked.used; place++) {
        Marked *each = &((Marked *)marked.items)[place];
        size_t item = 0;
        Task *record = tasks_by_reference(tasks, each->hash, each->reference, &item);
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
        Py_DECREF(each->reference);
    }
    array_free(&marked);
    visit_ready(core, now);
    for (int count = 0; count < IN_TURN && tasks->used > 0; count++) {
        size_t item = tasks->next = tasks->next < tasks->used ? tasks->next : 0;
        visit(core, tasks_at(tasks, item), item, false, now);
        tasks->next++;
    }
    tasks->rounds += until != 0;
    tasks->left_over = 0;
}

void
steps_free(Tasks *tasks)
{
    for (size_t place = 0; place < tasks->marked.used; place++) {
        Py_DECREF(((Marked *)tasks->marked.items)[place].reference);
    }
    array_free(&tasks->marked);
}
