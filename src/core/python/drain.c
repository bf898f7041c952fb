/* Methods of `Core`: Python drains what the core has found. */
#include "python/drain.h"
#include "core.h"
#include "cpython/monotonic.h"
#include "exact/exact.h"
#include "exact/step_chunks.h"
#include "python/method.h"
#include "tasks/waiters.h"

/* Return how many bytes are held that no drain frees. */
static size_t
held(const Core *self)
{
    const Tables *tables = &self->tables;
    return tables->nodes_used * (sizeof *tables->parents + sizeof *tables->elements + 2 * sizeof(uint32_t)) +
           tables->codes_used * sizeof *tables->codes +
           self->tasks.waiters.used * (sizeof(WaiterKey) + 2 * sizeof(uint32_t));
}

/* Return the figures of the trace, by name. */
static PyObject *
stats(Core *self, PyObject *Py_UNUSED(ignored))
{
    const Pace *pace = &self->pace;
    return Py_BuildValue(
        "{s:L,s:L,s:K,s:K,s:L,s:L,s:K,s:n,s:K,s:K,s:z,s:O,s:O,s:K,s:n,s:n}",
        "now", (long long)(now_ns() - pace->start),
        "start", (long long)pace->start,
        "taken", (unsigned long long)pace->taken,
        "missed", (unsigned long long)pace->missed,
        "spent", (long long)pace->spent,
        "longest", (long long)pace->longest,
        "rounds", (unsigned long long)self->tasks.rounds,
        "foreign", (Py_ssize_t)self->tasks.foreign,
        "cut", (unsigned long long)self->tables.cut,
        "rows", (unsigned long long)self->tables.rows_used,
        "broken", self->tasks.broken,
        "failed", self->tables.failed ? Py_True : Py_False,
        "behind", self->tasks.is_behind ? Py_True : Py_False,
        "pending", (unsigned long long)(self->tables.rows_used - self->tables.rows_drained),
        "tasks", (Py_ssize_t)self->tasks.used,
        "held", (Py_ssize_t)held(self));
}

/* Return how late each tick was (bytes of two numbers each); ticks are noted from the first call on. */
static PyObject *
keep_lateness(Core *self, PyObject *Py_UNUSED(ignored))
{
    Pace *pace = &self->pace;
    if (pace->lateness == NULL && (pace->lateness = calloc(1, sizeof *pace->lateness)) == NULL) {
        return PyErr_NoMemory();
    }
    return PyBytes_FromStringAndSize(pace->lateness->items, (Py_ssize_t)(pace->lateness->used * 2 * sizeof(int64_t)));
}

/* Return the rows (bytes), and forget them. */
static PyObject *
drain_rows(Core *self, PyObject *Py_UNUSED(ignored))
{
    Tables *tables = &self->tables;
    size_t count = tables->rows_used - tables->rows_drained;
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
    tables->rows_drained = tables->rows_used;
    return bytes;
}

/* Return the lengths of ready queues (bytes of three numbers each), and forget them. */
static PyObject *
drain_counters(Core *self, PyObject *Py_UNUSED(ignored))
{
    Array *counters = &self->tables.counters;
    PyObject *bytes = PyBytes_FromStringAndSize(counters->items, (Py_ssize_t)(counters->used * 3 * sizeof(int64_t)));
    counters->used = bytes != NULL ? 0 : counters->used;
    return bytes;
}

/* Return some notes (kind, track, time, number, ticks, name, root), and forget them; an empty list when all are
 * drained. */
static PyObject *
drain_notes(Core *self, PyObject *Py_UNUSED(ignored))
{
    /* the chunk is taken out of the list first: while tuples are made, another tick may come */
    NoteChunk *chunk = self->tables.first_note;
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
        PyObject *tuple = /* the references to names are ours until the end of this function */
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

/* Return the code objects with their modules, from a number on. */
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

/* Return the parents and the elements of the tree of stacks, from a node on (bytes). */
static PyObject *
nodes_since(Core *self, PyObject *first)
{
    size_t from = PyLong_AsSize_t(first), used = self->tables.nodes_used;
    if (from == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    from = from < used ? from : used;
    return Py_BuildValue("(y#y#)", (char *)(self->tables.parents + from),
                         (Py_ssize_t)((used - from) * sizeof(uint32_t)),
                         (char *)(self->tables.elements + from), (Py_ssize_t)((used - from) * sizeof(uint64_t)));
}

/* Return the garbage collector's collections (bytes of COLLECTION_NUMBERS each), and how many more there were; forget
 * them. */
static PyObject *
drain_collections(Core *self, PyObject *Py_UNUSED(ignored))
{
    Collections none = {0}, *collections = self->exact != NULL ? &self->exact->collections : &none;
    Array found = collections->items; /* they are taken first: an allocation may run the garbage collector */
    collections->items = (Array){0};
    PyObject *tuple = Py_BuildValue("(y#K)", found.items != NULL ? (const char *)found.items : "",
                                    (Py_ssize_t)(found.used * COLLECTION_NUMBERS * sizeof(int64_t)),
                                    (unsigned long long)collections->dropped);
    array_free(&found);
    return tuple;
}

/* Return a block of steps (bytes), or None behind the last. */
static PyObject *
steps_block(Core *self, PyObject *number)
{
    size_t place = PyLong_AsSize_t(number);
    if (place == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    return self->exact != NULL ? chunks_block(&self->exact->steps, place) : Py_NewRef(Py_None);
}

/* Return the steps in memory (bytes), and forget them. */
static PyObject *
drain_steps(Core *self, PyObject *Py_UNUSED(ignored))
{
    return self->exact != NULL ? chunks_drain(&self->exact->steps) : PyBytes_FromStringAndSize(NULL, 0);
}

/* Return the steps that are under way, as if they ended now (bytes). */
static PyObject *
open_steps(Core *self, PyObject *now)
{
    int64_t time = PyLong_AsLongLong(now);
    if (time == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return self->exact != NULL ? exact_under_way(self->exact, time) : PyBytes_FromStringAndSize(NULL, 0);
}

/* Return how many steps were noted, how many could not be, and the errno of their file or 0. */
static PyObject *
steps_stats(Core *self, PyObject *Py_UNUSED(ignored))
{
    static const Steps none;
    const Steps *steps = self->exact != NULL ? &self->exact->steps : &none;
    return Py_BuildValue("(KKi)", (unsigned long long)steps->count, (unsigned long long)steps->lost, steps->failed);
}

PyMethodDef drain_methods[] = {
    METHOD("codes_since", codes_since, METH_O),
    METHOD("keep_lateness", keep_lateness, METH_NOARGS),
    METHOD("nodes_since", nodes_since, METH_O),
    METHOD("stats", stats, METH_NOARGS),
    METHOD("steps_block", steps_block, METH_O),
    METHOD("steps_stats", steps_stats, METH_NOARGS),
    METHOD("drain_collections", drain_collections, METH_NOARGS),
    METHOD("drain_counters", drain_counters, METH_NOARGS),
    METHOD("drain_notes", drain_notes, METH_NOARGS),
    METHOD("drain_rows", drain_rows, METH_NOARGS),
    METHOD("drain_steps", drain_steps, METH_NOARGS),
    METHOD("open_steps", open_steps, METH_O),
    {0},
};
