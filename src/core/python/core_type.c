/* The type `Core`: making a core, telling it of asyncio, running and ending it. `fgtrace._sampling.core_sampler` uses
 * it. */
#include "python/core_type.h"
#include "clock/clock.h"
#include "clock/tick.h"
#include "core.h"
#include "cpython/monotonic.h"
#include "exact/exact.h"
#include "exact/ready_queues.h"
#include "hooks/ran_marks.h"
#include "python/answers.h"
#include "python/drain.h"
#include "python/method.h"
#include "tasks/freed_tasks.h"
#include "tasks/observe.h"

#define MOST_METHODS 64

/* Take a tick whose sample holds from a time on. */
static PyObject *
tick(Core *self, PyObject *now)
{
    int64_t time = PyLong_AsLongLong(now);
    if (time == -1 && PyErr_Occurred()) {
        return NULL;
    }
    core_tick(self, time);
    Py_RETURN_NONE;
}

/* Start the clock's thread. */
static PyObject *
run(Core *self, PyObject *Py_UNUSED(ignored))
{
    return clock_start(self->clock) == 0 ? Py_NewRef(Py_None) : NULL;
}

/* End the clock's thread. */
static PyObject *
halt(Core *self, PyObject *Py_UNUSED(ignored))
{
    clock_halt(self->clock);
    Py_RETURN_NONE;
}

/* Wait until there is work for Python; return False where the clock was halted. */
static PyObject *
wait_(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(clock_wait(self->clock));
}

/* Store references to the types of a tuple; return false with an exception. */
static bool
store_types(PyObject *tuple, PyTypeObject **types, size_t room)
{
    if (!PyTuple_Check(tuple) || (size_t)PyTuple_GET_SIZE(tuple) > room) {
        PyErr_SetString(PyExc_ValueError, "a short tuple of types is wanted");
        return false;
    }
    for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(tuple); place++) {
        Py_XSETREF(types[place], (PyTypeObject *)Py_NewRef(PyTuple_GET_ITEM(tuple, place)));
    }
    return true;
}

/* Tell the core of asyncio's tasks, and where they have their fields. */
static PyObject *
attach(Core *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"tasks",  "eager", "task",  "future", "waiter",   "coro",      "loop",
                            "name",   "state", "callback", "callbacks", "node", "context", "labels", "ends", NULL};
    PyObject *set, *eager, *task, *future, *ends;
    Offsets at;
    int labels;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!OO!O!nnnnnnnnnpO", names, &PySet_Type, &set, &eager,
                                     &PyType_Type, &task, &PyType_Type, &future, &at.waiter, &at.coro, &at.loop,
                                     &at.name, &at.state, &at.callback, &at.callbacks, &at.node, &at.context, &labels,
                                     &ends) ||
        !store_types(ends, self->walk.link_types.ends, Py_ARRAY_LENGTH(self->walk.link_types.ends))) {
        return NULL;
    }
    PyObject *reader = PyObject_GetAttrString(task, "_fut_waiter");
    if (reader == NULL || !Py_IS_TYPE(reader, &PyGetSetDescr_Type)) {
        Py_XDECREF(reader);
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "Task._fut_waiter is not what it was");
        }
        return NULL;
    }
    Tasks *tasks = &self->tasks;
    tasks->get_waiter = ((PyGetSetDescrObject *)reader)->d_getset->get;
    Py_DECREF(reader);
    Py_XSETREF(tasks->tasks, (PySetObject *)Py_NewRef(set));
    Py_XSETREF(tasks->eager, PySet_CheckExact(eager) ? (PySetObject *)Py_NewRef(eager) : NULL);
    Py_XSETREF(tasks->task_type, (PyTypeObject *)Py_NewRef(task));
    Py_XSETREF(tasks->future_type, (PyTypeObject *)Py_NewRef(future));
    tasks->told_type = freed_tasks_watch(tasks, tasks->task_type) ? tasks->task_type : NULL;
    tasks->at = at;
    tasks->wants_labels = labels != 0;
    tasks->is_attached = true;
    Py_RETURN_NONE;
}

/* Observe no tasks any more: Python's collector observes them from now on, and begins tracks of its own. */
static PyObject *
detach(Core *self, PyObject *Py_UNUSED(ignored))
{
    self->tasks.is_attached = false;
    self->tasks.is_handed_over = true;
    tasks_end_all(&self->tasks, self->pace.last_tick);
    Py_RETURN_NONE;
}

/* Forget all tasks: the trace is over, and all questions are answered. */
static PyObject *
close_(Core *self, PyObject *Py_UNUSED(ignored))
{
    self->tasks.is_attached = self->tasks.is_wanted = false;
    freed_tasks_unwatch(&self->tasks);
    tasks_clear(&self->tasks);
    Py_RETURN_NONE;
}

/* Begin, or end, to mark the tasks that run; return whether they are marked. */
static PyObject *
mark_steps(Core *self, PyObject *wanted)
{
    if (PyObject_IsTrue(wanted)) {
        return PyBool_FromLong(marks_begin(&self->tasks));
    }
    marks_end(&self->tasks);
    Py_RETURN_TRUE;
}

/* Return whether marks tell of all tasks that ran. */
static PyObject *
marks_suffice_(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(marks_suffice(&self->tasks));
}

/* --- exact awaits --- */

/* Begin exact awaits; return whether that was possible. Arguments: a folder for what exceeds the memory, how many
 * bytes of memory there are (-1: no bound, since Python drains the steps), and whether compiled loops tell of their
 * steps. */
static PyObject *
begin_exact(Core *self, PyObject *arguments)
{
    const char *folder;
    Py_ssize_t most;
    int is_watching;
    if (!PyArg_ParseTuple(arguments, "snp", &folder, &most, &is_watching)) {
        return NULL;
    }
    Exact *exact = exact_begin(&self->tables, &self->tasks, &self->pace, folder, (size_t)most, is_watching != 0);
    self->exact = exact != NULL ? exact : self->exact;
    return PyBool_FromLong(exact != NULL);
}

/* Take a last tick, and end exact awaits; return the time of that. */
static PyObject *
finish(Core *self, PyObject *Py_UNUSED(ignored))
{
    int64_t now = now_ns() - self->pace.start;
    core_tick(self, now);
    if (self->exact != NULL) {
        exact_end(self->exact, now);
    }
    return PyLong_FromLongLong(now);
}

/* Note a collection of the garbage collector, for ``gc.callbacks``: ("start" or "stop", information). */
static PyObject *
note_collection(Core *self, PyObject *const *arguments, Py_ssize_t count)
{
    int64_t now = now_ns() - self->pace.start;
    if (count == 2 && self->exact != NULL && PyUnicode_Check(arguments[0]) && PyDict_Check(arguments[1])) {
        collections_note(&self->exact->collections, arguments[0], arguments[1], now);
    }
    Py_RETURN_NONE;
}

/* Free the queue of a loop that was closed. */
static PyObject *
purge(Core *self, PyObject *Py_UNUSED(ignored))
{
    if (self->exact != NULL) {
        ready_purge(self->exact);
    }
    Py_RETURN_NONE;
}

/* --- a core is made and freed --- */

/* Return a new core (strong), NULL with an exception. */
static PyObject *
core_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"period", "max_overhead", "most_nodes", "tick_budget", "threads", "tasks",
                            "active", "hidden",       "opaque",     NULL};
    long long period, tick_budget;
    double max_overhead;
    Py_ssize_t most_nodes;
    int threads, tasks;
    PyObject *active, *hidden, *opaque;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "LdnLppO!OO", names, &period, &max_overhead, &most_nodes,
                                     &tick_budget, &threads, &tasks, &PyDict_Type, &active, &hidden, &opaque)) {
        return NULL;
    }
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_RuntimeError, "the C core works in the main interpreter only");
        return NULL;
    }
    Core *self = (Core *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->tick_budget = tick_budget;
    self->pace.period = period;
    self->threads.tables = self->tasks.tables = self->tasks.loops.tables = &self->tables;
    self->threads.walk = self->tasks.walk = &self->walk;
    self->tasks.threads = self->tasks.loops.threads = &self->threads;
    self->threads.is_wanted = threads != 0;
    self->tasks.is_wanted = tasks != 0;
    self->threads.active = Py_NewRef(active);
    self->threads.hidden = PyAnySet_Check(hidden) ? Py_NewRef(hidden) : NULL;
    self->tables.waiters = FIRST_WAITER;
    self->clock = clock_new(&self->tables, &self->pace, &tick_jobs, self, max_overhead);
    if (self->clock == NULL || !tables_begin(&self->tables, (size_t)most_nodes)) {
        PyErr_NoMemory();
    }
    else if (store_types(opaque, self->walk.link_types.opaque, Py_ARRAY_LENGTH(self->walk.link_types.opaque))) {
        return (PyObject *)self;
    }
    Py_DECREF(self);
    return NULL;
}

/* Free a core. */
static void
core_dealloc(Core *self)
{
    marks_end(&self->tasks);
    if (self->exact != NULL) {
        exact_end(self->exact, 0);
    }
    if (self->clock != NULL) {
        clock_free(self->clock);
    }
    if (self->exact != NULL) {
        exact_free(self->exact);
    }
    if (self->pace.lateness != NULL) {
        array_free(self->pace.lateness);
        free(self->pace.lateness);
    }
    freed_tasks_unwatch(&self->tasks);
    tasks_free(&self->tasks);
    threads_free(&self->threads);
    tables_free(&self->tables);
    walk_free(&self->walk);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef own_methods[] = {
    METHOD("attach", attach, METH_VARARGS | METH_KEYWORDS),
    METHOD("begin_exact", begin_exact, METH_VARARGS),
    METHOD("close", close_, METH_NOARGS),
    METHOD("detach", detach, METH_NOARGS),
    METHOD("finish", finish, METH_NOARGS),
    METHOD("halt", halt, METH_NOARGS),
    METHOD("tick", tick, METH_O),
    METHOD("mark_steps", mark_steps, METH_O),
    METHOD("marks_suffice", marks_suffice_, METH_NOARGS),
    METHOD("note_collection", note_collection, METH_FASTCALL),
    METHOD("purge", purge, METH_NOARGS),
    METHOD("run", run, METH_NOARGS),
    METHOD("wait", wait_, METH_NOARGS),
    {0},
};

static PyTypeObject core_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "fgtrace._core.Core",
    .tp_doc = "The hot half of one trace; see fgtrace._sampling.core_sampler.",
    .tp_basicsize = sizeof(Core),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = core_new,
    .tp_dealloc = (destructor)core_dealloc,
};

/* Return the type (borrowed) with its methods from all files; NULL with an exception. */
PyTypeObject *
core_type_ready(void)
{
    static PyMethodDef methods[MOST_METHODS + 1];
    PyMethodDef *tables[] = {own_methods, drain_methods, answer_methods};
    size_t used = 0;
    for (size_t table = 0; table < Py_ARRAY_LENGTH(tables); table++) {
        for (const PyMethodDef *method = tables[table]; method->ml_name != NULL; method++) {
            if (used == MOST_METHODS) {
                PyErr_SetString(PyExc_SystemError, "fgtrace._core.Core has more methods than there is room for");
                return NULL;
            }
            methods[used++] = *method;
        }
    }
    core_type.tp_methods = methods;
    return PyType_Ready(&core_type) == 0 ? &core_type : NULL;
}
