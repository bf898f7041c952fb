/* Knows the loops: the thread in which each runs, how much it has to run, and what it is called. */
#include "tasks/loops.h"
#include "cpython/inspect.h"

/* Return the ident of the thread that runs a loop; 0 where it runs in an unknown one, -1 where it does not run. */
long
loop_thread(PyObject *loop)
{
    PyObject *ident = inspect_attribute(loop, "_thread_id");
    long found = -1;
    if (ident != NULL) {
        found = PyLong_CheckExact(ident) ? (long)PyLong_AsUnsignedLong(ident) : -1;
        PyErr_Clear();
        Py_DECREF(ident);
        return found;
    }
    PyObject *key = PyUnicode_InternFromString("is_running");
    PyObject *method = key != NULL ? _PyType_Lookup(Py_TYPE(loop), key) : NULL; /* borrowed */
    Py_XDECREF(key);
    if (method != NULL && !PyFunction_Check(method) && !PyType_IsSubtype(Py_TYPE(method), &PyProperty_Type)) {
        Py_INCREF(method); /* the method is compiled, as uvloop's is: no Python code runs */
        PyObject *answer = PyObject_CallOneArg(method, loop);
        found = answer == Py_True ? 0 : -1;
        Py_XDECREF(answer);
        Py_DECREF(method);
    }
    PyErr_Clear();
    return found;
}

/* Note in which thread a loop runs. */
void
loop_set_thread(Loops *loops, size_t index, unsigned long ident)
{
    loops->items[index].ident = ident;
    PyObject *name = thread_name(loops->threads, ident);
    if (name != NULL) {
        tables_note(loops->tables, NOTE_LOOP_THREAD, (uint32_t)index, 0, 0, name);
        Py_DECREF(name);
    }
}

/* Return the index of a loop, which is added when it is first seen to run; -1 for a loop that was never seen to run. */
int
loop_index(Loops *loops, PyObject *loop)
{
    for (size_t index = 0; index < loops->used; index++) {
        if (loops->items[index].loop == loop && weak_referent(loops->items[index].reference) == loop) {
            return (int)index;
        }
    }
    long ident = loop_thread(loop);
    if (ident < 0 || loops->used == UINT16_MAX) {
        return -1;
    }
    Loop *items = grown(loops->items, &loops->room, loops->used, sizeof *items);
    if (items == NULL) {
        return -1;
    }
    loops->items = items;
    PyObject *reference = PyWeakref_NewRef(loop, NULL), *name = inspect_class_name(Py_TYPE(loop));
    if (reference == NULL) {
        Py_XDECREF(name);
        PyErr_Clear();
        return -1;
    }
    size_t index = loops->used++;
    PyObject *ready = inspect_attribute(loop, "_ready");
    loops->items[index] =
        (Loop){.reference = reference, .loop = loop, .ready = -1, .is_compiled = ready == NULL};
    Py_XDECREF(ready);
    tables_note(loops->tables, NOTE_LOOP, (uint32_t)index, 0, 0, name);
    Py_XDECREF(name);
    if (ident > 0) {
        loop_set_thread(loops, index, (unsigned long)ident);
    }
    return (int)index;
}

/* Return the queue of what a loop is to run next (strong); NULL where it is not one of asyncio's own, since asking
 * its length would run the program's code. */
PyObject *
loop_ready_queue(PyObject *loop)
{
    PyObject *ready = inspect_attribute(loop, "_ready");
    if (ready != NULL && strcmp(Py_TYPE(ready)->tp_name, "collections.deque") != 0) {
        Py_CLEAR(ready);
    }
    return ready;
}

/* Note how many handles are ready in each loop, where that has changed. */
void
loops_count_ready(Loops *loops, int64_t now)
{
    for (size_t index = 0; index < loops->used; index++) {
        Loop *loop = &loops->items[index];
        PyObject *alive = weak_referent(loop->reference);
        PyObject *ready = alive != NULL ? loop_ready_queue(alive) : NULL;
        Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : -1;
        Py_XDECREF(ready);
        PyErr_Clear();
        if (count >= 0 && count != loop->ready) {
            int64_t *counter = array_push(&loops->tables->counters, 3 * sizeof *counter);
            if (counter != NULL) {
                counter[0] = now;
                counter[1] = (int64_t)index;
                counter[2] = loop->ready = count;
            }
        }
    }
}

/* Free everything, with the references that are held. */
void
loops_free(Loops *loops)
{
    for (size_t index = 0; index < loops->used; index++) {
        Py_DECREF(loops->items[index].reference);
    }
    free(loops->items);
    *loops = (Loops){0};
}
