/* Methods of `Core` for the part of the work that Python does (`fgtrace._sampling.core_answers`): it drains questions
 * and amends what they are about, and it puts entries of its own into the core's tables. */
#include "python/answers.h"
#include "core.h"
#include "exact/step_chunks.h"
#include "python/method.h"
#include "tasks/questions.h"
#include "tasks/waiters.h"

/* Return the questions (kind, task, waiter, row, time, track) of tasks that are alive, and forget them. */
static PyObject *
drain_questions(Core *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0); /* this comes first: it may run the garbage collector, and another tick may come */
    Array questions = self->tasks.questions;
    self->tasks.questions = (Array){0};
    for (size_t item = 0; item < questions.used; item++) {
        Question *question = &((Question *)questions.items)[item];
        PyObject *task = weak_referent(question->reference);
        PyObject *waiter = question->waiter != NULL ? weak_referent(question->waiter) : NULL;
        if (list != NULL && task != NULL && Py_REFCNT(task) > 0) {
            Py_INCREF(task); /* an allocation may run the garbage collector */
            waiter = Py_NewRef(waiter != NULL && Py_REFCNT(waiter) > 0 ? waiter : Py_None);
            PyObject *tuple =
                Py_BuildValue("(iNNKLI)", (int)question->kind, task, waiter, (unsigned long long)question->row,
                              (long long)question->time, question->track);
            if (tuple == NULL || PyList_Append(list, tuple) < 0) {
                Py_CLEAR(list);
            }
            Py_XDECREF(tuple);
        }
        Py_DECREF(question->reference);
        Py_XDECREF(question->waiter);
    }
    array_free(&questions);
    return list;
}

/* Amend a row or a step (task, number, stack, detail); return whether it was still there. */
static PyObject *
amend(Core *self, PyObject *arguments)
{
    PyObject *task;
    unsigned long long number;
    int stack;
    unsigned int detail;
    if (!PyArg_ParseTuple(arguments, "OKiI", &task, &number, &stack, &detail)) {
        return NULL;
    }
    if (number & STEP_ROW && number != UINT64_MAX) { /* UINT64_MAX: the question is about no row */
        return PyBool_FromLong(self->exact != NULL &&
                               chunks_amend(&self->exact->steps, number & ~STEP_ROW, stack, detail));
    }
    Row *row = tables_row(&self->tables, number);
    if (row == NULL) {
        Py_RETURN_FALSE;
    }
    if (stack == AS_IT_IS) {
        stack = (int)row->stack;
    }
    Task *record = task_find(&self->tasks, task);
    if (record != NULL && record->track == row->track && record->stack == row->stack && record->detail == row->detail) {
        record->stack = stack;
        record->detail = detail;
    }
    row->stack = stack;
    row->detail = detail;
    Py_RETURN_TRUE;
}

/* Return a task's track; -1 where it has none. */
static PyObject *
track_of(Core *self, PyObject *task)
{
    const Task *record = task_find(&self->tasks, task);
    return PyLong_FromLong(record == NULL || record->track == NONE ? -1 : (long)record->track);
}

/* Return weak references to the tasks that are written in Python. */
static PyObject *
foreign_tasks(Core *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    for (size_t item = 0; list != NULL && item < self->tasks.used; item++) {
        const Task *record = task_at(&self->tasks, item);
        if (record->flags & TASK_FOREIGN && PyList_Append(list, record->key) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* --- tables, for the part of the work that Python does --- */

/* Return the number of a code object (code, module), which is added if it is new. */
static PyObject *
intern_code(Core *self, PyObject *arguments)
{
    PyObject *object, *module;
    if (!PyArg_ParseTuple(arguments, "O!O", &PyCode_Type, &object, &module)) {
        return NULL;
    }
    size_t before = self->tables.codes_used;
    uint32_t item = tables_code(&self->tables, (PyCodeObject *)object, NULL);
    if (self->tables.codes_used > before) {
        Py_SETREF(self->tables.codes[item].module, Py_NewRef(module));
    }
    return PyLong_FromUnsignedLong(item);
}

/* Return the number of a stack, given as a list from leaf to root; of anything else that of the empty stack. */
static PyObject *
intern_stack(Core *self, PyObject *leaf_first)
{
    size_t start = self->walk.path.used;
    for (Py_ssize_t place = PyList_Check(leaf_first) ? PyList_GET_SIZE(leaf_first) : 0; place-- > 0;) {
        if (!path_push(&self->walk.path, PyLong_AsUnsignedLongLong(PyList_GET_ITEM(leaf_first, place)))) {
            return PyErr_NoMemory();
        }
    }
    int32_t node = tables_stack(&self->tables, self->walk.path.items + start, self->walk.path.used - start);
    self->walk.path.used = start;
    return PyErr_Occurred() ? NULL : PyLong_FromLong(node);
}

/* Append a row (time, track, stack, detail); return its time, which is a later one where later rows have come. */
static PyObject *
observe(Core *self, PyObject *arguments)
{
    long long time;
    unsigned int track, detail;
    int node;
    if (!PyArg_ParseTuple(arguments, "LIiI", &time, &track, &node, &detail)) {
        return NULL;
    }
    const Row *row = tables_observe(&self->tables, time, track, node, detail);
    return row != NULL ? PyLong_FromLongLong(row->time) : PyErr_NoMemory();
}

/* Return the number of a new track. */
static PyObject *
add_track(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(self->tables.tracks++);
}

/* Return the number of a waiter that Python notes. */
static PyObject *
add_waiter(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(self->tables.waiters++);
}

/* Return the number of a waiter (kind, type, track or -1), which is noted if it is new. */
static PyObject *
intern_waiter(Core *self, PyObject *arguments)
{
    unsigned int kind;
    int track;
    PyObject *type;
    if (!PyArg_ParseTuple(arguments, "IO!i", &kind, &PyType_Type, &type, &track)) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(
        waiter_intern(&self->tasks, kind, (PyTypeObject *)type, track < 0 ? NONE : (uint32_t)track));
}

/* Return the number of a loop; -1 where it was never seen to run. */
static PyObject *
intern_loop(Core *self, PyObject *loop)
{
    return PyLong_FromLong(loop_index(&self->tasks.loops, loop));
}

/* Note in which thread a loop runs (number, ident). */
static PyObject *
set_loop_thread(Core *self, PyObject *arguments)
{
    unsigned int index;
    unsigned long ident;
    if (!PyArg_ParseTuple(arguments, "Ik", &index, &ident)) {
        return NULL;
    }
    if (index < self->tasks.loops.used) {
        loop_set_thread(&self->tasks.loops, index, ident);
    }
    Py_RETURN_NONE;
}

/* Note what is known of a function (code, flags). */
static PyObject *
mark_code(Core *self, PyObject *arguments)
{
    PyObject *object;
    unsigned int flags;
    if (!PyArg_ParseTuple(arguments, "O!I", &PyCode_Type, &object, &flags)) {
        return NULL;
    }
    tables_mark(&self->tables, (PyCodeObject *)object, flags);
    Py_RETURN_NONE;
}

PyMethodDef answer_methods[] = {
    METHOD("amend", amend, METH_VARARGS),
    METHOD("intern_code", intern_code, METH_VARARGS),
    METHOD("foreign_tasks", foreign_tasks, METH_NOARGS),
    METHOD("intern_loop", intern_loop, METH_O),
    METHOD("mark_code", mark_code, METH_VARARGS),
    METHOD("add_track", add_track, METH_NOARGS),
    METHOD("add_waiter", add_waiter, METH_NOARGS),
    METHOD("observe", observe, METH_VARARGS),
    METHOD("set_loop_thread", set_loop_thread, METH_VARARGS),
    METHOD("intern_stack", intern_stack, METH_O),
    METHOD("drain_questions", drain_questions, METH_NOARGS),
    METHOD("track_of", track_of, METH_O),
    METHOD("intern_waiter", intern_waiter, METH_VARARGS),
    {0},
};
