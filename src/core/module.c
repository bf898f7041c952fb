/* ``fgtrace._core``: the face of the C core towards Python; `fgtrace._core_sampler` is its only user. */
#include "core.h"

/* --- a look --- */

static void
looking(Core *core, int64_t now, bool is_tick)
{
    if (core->is_looking || core->tables.failed) {
        return;
    }
    core->is_looking = true;
    core->is_catching_up = !is_tick;
    /* A late tick is noted as of when it was due: looks in between may be later than that. */
    now = now > core->last_look ? now : core->last_look;
    core->last_look = now;
    int collects = PyGC_Disable(); /* else an allocation could run the program's finalizers */
    core->path.used = 0;
    core->on_stack.used = 0;
    if (!is_tick) {
        tasks_catch_up(core, now);
    }
    else if (threads_look(core, now)) {
        tasks_look(core, now);
        threads_end(core, now);
    }
    else {
        core->tables.failed = true;
    }
    if (collects) {
        PyGC_Enable();
    }
    core->is_looking = false;
}

void
core_look(Core *core, int64_t now)
{
    looking(core, now, true);
}

void
core_catch_up(Core *core, int64_t now)
{
    looking(core, now, false);
}

static PyObject *
look(Core *self, PyObject *now)
{
    int64_t time = PyLong_AsLongLong(now);
    if (time == -1 && PyErr_Occurred()) {
        return NULL;
    }
    core_look(self, time);
    Py_RETURN_NONE;
}

/* --- the clock --- */

static PyObject *
run(Core *self, PyObject *Py_UNUSED(ignored))
{
    return clock_run(self->clock) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
halt(Core *self, PyObject *Py_UNUSED(ignored))
{
    clock_halt(self->clock);
    Py_RETURN_NONE;
}

static PyObject *
wait_(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(clock_wait(self->clock));
}

/* Bytes of what is kept until the end, whatever is taken out. */
static size_t
held(const Core *self)
{
    const Tables *tables = &self->tables;
    return tables->nodes_used * (sizeof *tables->parents + sizeof *tables->elements + 2 * sizeof(uint32_t)) +
           tables->codes_used * sizeof *tables->codes + self->tasks.waits.used * (sizeof(WaitKey) + 2 * sizeof(uint32_t));
}

static PyObject *
stats(Core *self, PyObject *Py_UNUSED(ignored))
{
    const Pace *pace = clock_pace(self->clock);
    return Py_BuildValue(
        "{s:L,s:L,s:K,s:K,s:L,s:L,s:K,s:n,s:K,s:K,s:z,s:O,s:O,s:K,s:n,s:n}", "now", (long long)(now_ns() - pace->start), "start",
        (long long)pace->start, "taken", (unsigned long long)pace->taken, "missed", (unsigned long long)pace->missed,
        "spent", (long long)pace->spent, "longest", (long long)pace->longest, "rounds",
        (unsigned long long)self->tasks.rounds, "foreign", (Py_ssize_t)self->tasks.foreign, "cut",
        (unsigned long long)self->tables.cut, "rows", (unsigned long long)self->tables.rows_used, "broken",
        self->tasks.broken, "failed", self->tables.failed ? Py_True : Py_False, "behind",
        self->tasks.is_behind ? Py_True : Py_False, "pending",
        (unsigned long long)(self->tables.rows_used - self->tables.rows_taken), "tasks",
        (Py_ssize_t)self->tasks.used, "held", (Py_ssize_t)held(self));
}

static PyObject *
keep_lateness(Core *self, PyObject *Py_UNUSED(ignored))
{
    Pace *pace = clock_pace(self->clock);
    if (pace->lateness == NULL && (pace->lateness = calloc(1, sizeof *pace->lateness)) == NULL) {
        return PyErr_NoMemory();
    }
    return PyBytes_FromStringAndSize(pace->lateness->items, (Py_ssize_t)(pace->lateness->used * 2 * sizeof(int64_t)));
}

/* --- what was found, to be taken out --- */

static PyObject *
take_rows(Core *self, PyObject *Py_UNUSED(ignored))
{
    Tables *tables = &self->tables;
    size_t count = tables->rows_used - tables->rows_taken;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * sizeof(Row)));
    if (bytes == NULL) {
        return NULL;
    }
    char *to = PyBytes_AS_STRING(bytes);
    while (tables->first != NULL) {
        Chunk *chunk = tables->first;
        memcpy(to, chunk->rows, chunk->used * sizeof(Row));
        to += chunk->used * sizeof(Row);
        tables->first = chunk->next;
        free(chunk);
    }
    tables->last = NULL;
    tables->rows_taken = tables->rows_used;
    return bytes;
}

static PyObject *
take_counters(Core *self, PyObject *Py_UNUSED(ignored))
{
    Array *counters = &self->tables.counters;
    PyObject *bytes = PyBytes_FromStringAndSize(counters->items, (Py_ssize_t)(counters->used * 3 * sizeof(int64_t)));
    counters->used = bytes != NULL ? 0 : counters->used;
    return bytes;
}

static PyObject *
take_notes(Core *self, PyObject *Py_UNUSED(ignored))
{
    NoteChunk *chunk = self->tables.first_note; /* taken out: while tuples are made, another tick may come */
    PyObject *list = PyList_New(0);
    if (chunk == NULL) {
        return list;
    }
    self->tables.first_note = chunk->next;
    if (chunk->next == NULL) {
        self->tables.last_note = NULL;
    }
    chunk->next = NULL;
    for (size_t item = 0; list != NULL && item < chunk->used; item++) {
        const Note *note = &chunk->notes[item];
        PyObject *tuple = /* the names are ours until the end of this function */
            Py_BuildValue("(iILLIOO)", (int)note->kind, note->track, (long long)note->time, (long long)note->number,
                          (unsigned)note->ticks, note->name != NULL ? note->name : Py_None,
                          note->root != NULL ? note->root : Py_None);
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
    }
    notes_free(chunk);
    return list;
}

static PyObject *
codes_since(Core *self, PyObject *first)
{
    size_t from = PyLong_AsSize_t(first);
    if (from == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (; list != NULL && from < self->tables.codes_used; from++) {
        const Code *code = &self->tables.codes[from];
        PyObject *pair = PyTuple_Pack(2, code->code, code->module);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *
nodes_since(Core *self, PyObject *first)
{
    size_t from = PyLong_AsSize_t(first), used = self->tables.nodes_used;
    if (from == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    from = from < used ? from : used;
    return Py_BuildValue("(y#y#)", (char *)(self->tables.parents + from), (Py_ssize_t)((used - from) * sizeof(uint32_t)),
                         (char *)(self->tables.elements + from), (Py_ssize_t)((used - from) * sizeof(uint64_t)));
}

/* --- questions, and answers --- */

static PyObject *
take_asks(Core *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0); /* first: it may collect, and another tick may come */
    Array asks = self->tasks.asks;
    self->tasks.asks = (Array){0};
    for (size_t item = 0; item < asks.used; item++) {
        Ask *ask = &((Ask *)asks.items)[item];
        PyObject *task = weak_referent(ask->reference);
        PyObject *waiter = ask->waiter != NULL ? weak_referent(ask->waiter) : NULL;
        if (list != NULL && task != NULL && Py_REFCNT(task) > 0) {
            Py_INCREF(task); /* an allocation may collect */
            waiter = Py_NewRef(waiter != NULL && Py_REFCNT(waiter) > 0 ? waiter : Py_None);
            PyObject *tuple = Py_BuildValue("(iNNKLI)", (int)ask->kind, task, waiter, (unsigned long long)ask->row,
                                            (long long)ask->time, ask->track);
            if (tuple == NULL || PyList_Append(list, tuple) < 0) {
                Py_CLEAR(list);
            }
            Py_XDECREF(tuple);
        }
        Py_DECREF(ask->reference);
        Py_XDECREF(ask->waiter);
    }
    array_free(&asks);
    return list;
}

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
    if (number & STEP_ROW && number != UINT64_MAX) {
        return PyBool_FromLong(chunks_amend(self, number & ~STEP_ROW, stack, detail));
    }
    Row *row = tables_row(&self->tables, number);
    if (row == NULL) {
        Py_RETURN_FALSE;
    }
    if (stack < GONE) {
        stack = (int)row->stack; /* as it is */
    }
    Task *record = tasks_find(&self->tasks, task);
    if (record != NULL && record->track == row->track && record->stack == row->stack && record->detail == row->detail) {
        record->stack = stack;
        record->detail = detail;
    }
    row->stack = stack;
    row->detail = detail;
    Py_RETURN_TRUE;
}

static PyObject *
track_of(Core *self, PyObject *task)
{
    const Task *record = tasks_find(&self->tasks, task);
    return PyLong_FromLong(record == NULL || record->track == NONE ? -1 : (long)record->track);
}

static PyObject *
foreign(Core *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    for (size_t item = 0; list != NULL && item < self->tasks.used; item++) {
        const Task *record = tasks_at(&self->tasks, item);
        if (record->flags & TASK_FOREIGN && PyList_Append(list, record->reference) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* --- tables, for the part of the work that Python does --- */

static PyObject *
code(Core *self, PyObject *arguments)
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

static PyObject *
stack(Core *self, PyObject *leaf_first)
{
    size_t start = self->path.used;
    for (Py_ssize_t place = PyList_Check(leaf_first) ? PyList_GET_SIZE(leaf_first) : 0; place-- > 0;) {
        if (!path_push(&self->path, PyLong_AsUnsignedLongLong(PyList_GET_ITEM(leaf_first, place)))) {
            return PyErr_NoMemory();
        }
    }
    int32_t node = tables_stack(&self->tables, self->path.items + start, self->path.used - start);
    self->path.used = start;
    return PyErr_Occurred() ? NULL : PyLong_FromLong(node);
}

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

static PyObject *
new_track(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(self->tables.tracks++);
}

static PyObject *
new_wait(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(self->tables.waits++);
}

static PyObject *
wait_number(Core *self, PyObject *arguments)
{
    unsigned int kind;
    int track;
    PyObject *type;
    if (!PyArg_ParseTuple(arguments, "IO!i", &kind, &PyType_Type, &type, &track)) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(
        tasks_wait(self, kind, (PyTypeObject *)type, track < 0 ? NONE : (uint32_t)track));
}

static PyObject *
loop_number(Core *self, PyObject *loop)
{
    return PyLong_FromLong(loop_index(self, loop));
}

static PyObject *
place(Core *self, PyObject *arguments)
{
    unsigned int index;
    unsigned long ident;
    if (!PyArg_ParseTuple(arguments, "Ik", &index, &ident)) {
        return NULL;
    }
    if (index < self->tasks.loops_used) {
        place_loop(self, index, ident);
    }
    Py_RETURN_NONE;
}

static PyObject *
mark(Core *self, PyObject *arguments)
{
    PyObject *object;
    unsigned int flags;
    if (!PyArg_ParseTuple(arguments, "O!I", &PyCode_Type, &object, &flags)) {
        return NULL;
    }
    tables_mark(&self->tables, (PyCodeObject *)object, flags);
    Py_RETURN_NONE;
}

/* --- making one, and telling it of asyncio --- */

static bool
take_types(PyObject *tuple, PyTypeObject **types, size_t room)
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
                                     &at.name, &at.state, &at.callback, &at.callbacks, &at.node, &at.context, &labels, &ends) ||
        !take_types(ends, self->links.ends, Py_ARRAY_LENGTH(self->links.ends))) {
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
    tasks->at = at;
    tasks->wants_labels = labels != 0;
    tasks->is_attached = true;
    Py_RETURN_NONE;
}

/* Look at no task any more: Python's collector does, and begins tracks of its own. */
static PyObject *
detach(Core *self, PyObject *Py_UNUSED(ignored))
{
    self->tasks.is_attached = false;
    self->tasks.is_handed_over = true;
    tasks_end_all(self, self->last_look);
    Py_RETURN_NONE;
}

static PyObject *
mark_steps(Core *self, PyObject *wanted)
{
    if (PyObject_IsTrue(wanted)) {
        return PyBool_FromLong(steps_begin(self));
    }
    steps_end(self);
    Py_RETURN_TRUE;
}

/* --- exact awaits --- */

/* Arguments: a folder for what exceeds the memory, and how many bytes that is; -1: somebody takes the steps out. */
static PyObject *
begin_exact(Core *self, PyObject *arguments)
{
    const char *folder;
    Py_ssize_t most;
    int is_watching;
    if (!PyArg_ParseTuple(arguments, "snp", &folder, &most, &is_watching)) {
        return NULL;
    }
    return PyBool_FromLong(exact_begin(self, folder, (size_t)most, is_watching != 0));
}

/* A last look, and no step is noted any more; the time of it is returned. */
static PyObject *
finish(Core *self, PyObject *Py_UNUSED(ignored))
{
    int64_t now = now_ns() - clock_pace(self->clock)->start;
    core_look(self, now);
    if (self->exact != NULL) {
        exact_end(self, now);
    }
    return PyLong_FromLongLong(now);
}

/* For ``gc.callbacks``: ("start" or "stop", information). There are many collections of the young in a busy program. */
static PyObject *
note_collection(Core *self, PyObject *const *arguments, Py_ssize_t count)
{
    int64_t now = now_ns() - clock_pace(self->clock)->start;
    if (count != 2 || self->exact == NULL || !PyUnicode_Check(arguments[0]) || !PyDict_Check(arguments[1])) {
        Py_RETURN_NONE;
    }
    if (PyUnicode_CompareWithASCIIString(arguments[0], "start") == 0) {
        self->exact->collection_began = now;
    }
    else if (self->exact->collection_began >= 0) {
        PyObject *generation = PyDict_GetItemString(arguments[1], "generation"); /* borrowed */
        PyObject *collected = PyDict_GetItemString(arguments[1], "collected");
        Array *all = &self->exact->collections;
        int64_t *noted = all->used < MOST_COLLECTIONS ? array_push(all, 5 * sizeof *noted) : NULL;
        if (noted != NULL) {
            noted[0] = self->exact->collection_began;
            noted[1] = now;
            noted[2] = (int64_t)PyThreadState_Get()->native_thread_id;
            noted[3] = generation != NULL && PyLong_Check(generation) ? PyLong_AsLongLong(generation) : 0;
            noted[4] = collected != NULL && PyLong_Check(collected) ? PyLong_AsLongLong(collected) : 0;
        }
        else {
            self->exact->collections_dropped++;
        }
        self->exact->collection_began = -1;
    }
    Py_RETURN_NONE;
}

/* (bytes of five numbers each: start, end, native id of the thread, generation, collected; how many more there were) */
static PyObject *
take_collections(Core *self, PyObject *Py_UNUSED(ignored))
{
    Exact none = {0}, *exact = self->exact != NULL ? self->exact : &none;
    Array found = exact->collections; /* taken first: an allocation may collect */
    exact->collections = (Array){0};
    PyObject *tuple = Py_BuildValue("(y#K)", found.items != NULL ? (const char *)found.items : "",
                                    (Py_ssize_t)(found.used * 5 * sizeof(int64_t)),
                                    (unsigned long long)exact->collections_dropped);
    array_free(&found);
    return tuple;
}

static PyObject *
purge(Core *self, PyObject *Py_UNUSED(ignored))
{
    if (self->exact != NULL) {
        exact_purge(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
steps_block(Core *self, PyObject *number)
{
    size_t place = PyLong_AsSize_t(number);
    return place == (size_t)-1 && PyErr_Occurred() ? NULL : chunks_block(self, place);
}

static PyObject *
take_steps(Core *self, PyObject *Py_UNUSED(ignored))
{
    return chunks_take(self);
}

static PyObject *
under_way(Core *self, PyObject *now)
{
    int64_t time = PyLong_AsLongLong(now);
    return time == -1 && PyErr_Occurred() ? NULL : exact_under_way(self, time);
}

static PyObject *
steps_stats(Core *self, PyObject *Py_UNUSED(ignored))
{
    static const Exact none;
    const Exact *exact = self->exact != NULL ? self->exact : &none;
    return Py_BuildValue("(KKi)", (unsigned long long)exact->count, (unsigned long long)exact->lost, exact->failed);
}

static PyObject *
marks_serve(Core *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(steps_serve(&self->tasks));
}

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
    self->threads.is_wanted = threads != 0;
    self->tasks.is_wanted = tasks != 0;
    self->threads.active = Py_NewRef(active);
    self->threads.hidden = PyAnySet_Check(hidden) ? Py_NewRef(hidden) : NULL;
    self->tables.waits = 2; /* running and runnable */
    self->clock = clock_new(self, period, max_overhead);
    if (self->clock == NULL || !tables_begin(&self->tables, (size_t)most_nodes)) {
        PyErr_NoMemory();
    }
    else if (take_types(opaque, self->links.opaque, Py_ARRAY_LENGTH(self->links.opaque))) {
        return (PyObject *)self;
    }
    Py_DECREF(self);
    return NULL;
}

static void
core_dealloc(Core *self)
{
    steps_end(self);
    if (self->exact != NULL) {
        exact_end(self, 0);
    }
    if (self->clock != NULL) {
        clock_free(self->clock);
    }
    exact_free(self);
    for (size_t place = 0; place < Py_ARRAY_LENGTH(self->links.opaque); place++) {
        Py_XDECREF(self->links.opaque[place]);
    }
    for (size_t place = 0; place < Py_ARRAY_LENGTH(self->links.ends); place++) {
        Py_XDECREF(self->links.ends[place]);
    }
    tasks_free(&self->tasks);
    threads_free(&self->threads);
    tables_free(&self->tables);
    free(self->path.items);
    array_free(&self->on_stack);
    array_free(&self->chain);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

#define METHOD(name, function, how) {name, (PyCFunction)(void (*)(void))(function), how, NULL}

static PyMethodDef core_methods[] = {
    METHOD("amend", amend, METH_VARARGS),
    METHOD("attach", attach, METH_VARARGS | METH_KEYWORDS),
    METHOD("begin_exact", begin_exact, METH_VARARGS),
    METHOD("code", code, METH_VARARGS),
    METHOD("codes_since", codes_since, METH_O),
    METHOD("finish", finish, METH_NOARGS),
    METHOD("foreign", foreign, METH_NOARGS),
    METHOD("halt", halt, METH_NOARGS),
    METHOD("keep_lateness", keep_lateness, METH_NOARGS),
    METHOD("look", look, METH_O),
    METHOD("loop", loop_number, METH_O),
    METHOD("mark", mark, METH_VARARGS),
    METHOD("detach", detach, METH_NOARGS),
    METHOD("new_wait", new_wait, METH_NOARGS),
    METHOD("note_collection", note_collection, METH_FASTCALL),
    METHOD("place", place, METH_VARARGS),
    METHOD("mark_steps", mark_steps, METH_O),
    METHOD("marks_serve", marks_serve, METH_NOARGS),
    METHOD("new_track", new_track, METH_NOARGS),
    METHOD("nodes_since", nodes_since, METH_O),
    METHOD("observe", observe, METH_VARARGS),
    METHOD("purge", purge, METH_NOARGS),
    METHOD("run", run, METH_NOARGS),
    METHOD("stack", stack, METH_O),
    METHOD("stats", stats, METH_NOARGS),
    METHOD("take_asks", take_asks, METH_NOARGS),
    METHOD("take_collections", take_collections, METH_NOARGS),
    METHOD("take_counters", take_counters, METH_NOARGS),
    METHOD("take_notes", take_notes, METH_NOARGS),
    METHOD("steps_block", steps_block, METH_O),
    METHOD("steps_stats", steps_stats, METH_NOARGS),
    METHOD("take_rows", take_rows, METH_NOARGS),
    METHOD("take_steps", take_steps, METH_NOARGS),
    METHOD("track_of", track_of, METH_O),
    METHOD("under_way", under_way, METH_O),
    METHOD("wait", wait_, METH_NOARGS),
    METHOD("wait_number", wait_number, METH_VARARGS),
    {0},
};

static PyTypeObject core_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "fgtrace._core.Core",
    .tp_doc = "The hot half of one trace; see fgtrace._core_sampler.",
    .tp_basicsize = sizeof(Core),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = core_new,
    .tp_dealloc = (destructor)core_dealloc,
    .tp_methods = core_methods,
};

/* --- the module --- */

/* The words of an object's fixed part, as numbers: where calibration looks for what it knows is there. */
static PyObject *
words(PyObject *Py_UNUSED(module), PyObject *object)
{
    Py_ssize_t count = Py_TYPE(object)->tp_basicsize / (Py_ssize_t)sizeof(uintptr_t);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t place = 0; tuple != NULL && place < count; place++) {
        PyObject *word = PyLong_FromUnsignedLongLong(((uintptr_t *)object)[place]);
        if (word == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, place, word);
    }
    return tuple;
}

/* The address of the newest node in this thread's list of tasks (3.14+), 0 where there is no such list. */
static PyObject *
newest_task(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
#if PY_VERSION_HEX >= 0x030E0000
    struct llist_node *head = &((_PyThreadStateImpl *)PyThreadState_Get())->asyncio_tasks_head;
    return PyLong_FromUnsignedLongLong((uintptr_t)(head->prev != head ? head->prev : NULL));
#else
    return PyLong_FromLong(0);
#endif
}

static PyObject *
assume(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *loop, *task;
    if (!PyArg_ParseTuple(arguments, "OO", &loop, &task)) {
        return NULL;
    }
    exact_assume(loop, task);
    Py_RETURN_NONE;
}

static PyObject *
watch_contexts(PyObject *Py_UNUSED(module), PyObject *wanted)
{
    if (PyObject_IsTrue(wanted)) {
        return PyBool_FromLong(contexts_watch());
    }
    contexts_leave();
    Py_RETURN_TRUE;
}

static PyObject *
forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    steps_forget();
    exact_forget();
    contexts_forget();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"forget", forget, METH_NOARGS, NULL},
    {"assume", assume, METH_VARARGS, NULL},
    {"schedule_inner", schedule_inner, METH_VARARGS, NULL},
    {"schedule_outer", schedule_outer, METH_VARARGS, NULL},
    {"schedule_timers", schedule_timers, METH_VARARGS, NULL},
    {"handles_learn", handles_learn, METH_VARARGS, NULL},
    {"handles_run", handles_run, METH_VARARGS, NULL},
    {"newest_task", newest_task, METH_NOARGS, NULL},
    {"watch_contexts", watch_contexts, METH_O, NULL},
    {"words", words, METH_O, NULL},
    {0},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fgtrace._core",
    .m_doc = "The C twin of fgtrace's collectors and clock.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    if (PyType_Ready(&core_type) < 0) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    bool is_whole = module != NULL && PyModule_AddObjectRef(module, "Core", (PyObject *)&core_type) == 0 &&
                    PyModule_AddIntConstant(module, "version_hex", PY_VERSION_HEX) == 0;
    if (!is_whole) {
        Py_CLEAR(module);
    }
    return module;
}
