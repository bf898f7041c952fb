/* Loops: in which thread they run, what they have to run, what they are called; and how an object is asked without running
 * the program's code. */
#include "core.h"

/* An attribute of an object's own, or of its type in C: whatever would run Python code is left alone. */
PyObject * /* strong, or NULL without an exception */
attribute(PyObject *object, const char *name)
{
    PyObject *key = PyUnicode_InternFromString(name), *found = NULL;
    if (key != NULL) {
        PyObject *of_type = _PyType_Lookup(Py_TYPE(object), key); /* borrowed */
        if (of_type == NULL || Py_IS_TYPE(of_type, &PyMemberDescr_Type) ||
            Py_TYPE(of_type)->tp_descr_get == NULL) {
            found = PyObject_GenericGetAttr(object, key);
        }
        Py_DECREF(key);
    }
    PyErr_Clear();
    return found;
}

/* The thread that runs a loop: -1 it does not run, 0 it runs, but where is unknown. */
long
thread_of(PyObject *loop)
{
    PyObject *ident = attribute(loop, "_thread_id");
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
        Py_INCREF(method); /* compiled, as uvloop's: no Python code runs */
        PyObject *answer = PyObject_CallOneArg(method, loop);
        found = answer == Py_True ? 0 : -1;
        Py_XDECREF(answer);
        Py_DECREF(method);
    }
    PyErr_Clear();
    return found;
}

void
place_loop(Core *core, size_t index, unsigned long ident)
{
    core->tasks.loops[index].ident = ident;
    PyObject *name = thread_name(core, ident);
    if (name != NULL) {
        tables_note(&core->tables, NOTE_PLACE, (uint32_t)index, 0, 0, name);
        Py_DECREF(name);
    }
}

static PyObject * /* strong, or NULL */
dict_of(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyType_GetDict(type);
#else
    return Py_XNewRef(type->tp_dict);
#endif
}

/* module.qualname of a class, without asking its metaclass. */
PyObject * /* strong, or NULL without an exception */
class_name(PyTypeObject *type)
{
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        PyObject *name = PyUnicode_FromString(type->tp_name);
        PyErr_Clear();
        return name;
    }
    PyObject *dict = dict_of(type), *qualname = ((PyHeapTypeObject *)type)->ht_qualname;
    PyObject *module = dict != NULL ? PyDict_GetItemString(dict, "__module__") : NULL; /* borrowed */
    PyObject *name = NULL;
    if (module != NULL && PyUnicode_Check(module) && qualname != NULL) {
        name = PyUnicode_FromFormat("%U.%U", module, qualname);
    }
    else if (qualname != NULL) {
        name = Py_NewRef(qualname);
    }
    Py_XDECREF(dict);
    PyErr_Clear();
    return name;
}

/* The index of a running loop, or -1 where it has not been seen to run. */
int
loop_index(Core *core, PyObject *loop)
{
    Tasks *tasks = &core->tasks;
    for (size_t index = 0; index < tasks->loops_used; index++) {
        if (tasks->loops[index].loop == loop && weak_referent(tasks->loops[index].reference) == loop) {
            return (int)index;
        }
    }
    long ident = thread_of(loop);
    if (ident < 0 || tasks->loops_used == UINT16_MAX) {
        return -1;
    }
    Loop *loops = grown(tasks->loops, &tasks->loops_room, tasks->loops_used, sizeof *loops);
    if (loops == NULL) {
        return -1;
    }
    tasks->loops = loops;
    PyObject *reference = PyWeakref_NewRef(loop, NULL), *name = class_name(Py_TYPE(loop));
    if (reference == NULL) {
        Py_XDECREF(name);
        PyErr_Clear();
        return -1;
    }
    size_t index = tasks->loops_used++;
    PyObject *ready = attribute(loop, "_ready");
    tasks->loops[index] =
        (Loop){.reference = reference, .loop = loop, .ready = -1, .is_compiled = ready == NULL};
    Py_XDECREF(ready);
    tables_note(&core->tables, NOTE_LOOP, (uint32_t)index, 0, 0, name);
    Py_XDECREF(name);
    if (ident > 0) {
        place_loop(core, index, (unsigned long)ident);
    }
    return (int)index;
}

/* What a loop is to run next; strong, or NULL: it is none of asyncio's own, whose length would be the program's
 * code to tell. */
PyObject *
ready_queue(PyObject *loop)
{
    PyObject *ready = attribute(loop, "_ready");
    if (ready != NULL && strcmp(Py_TYPE(ready)->tp_name, "collections.deque") != 0) {
        Py_CLEAR(ready);
    }
    return ready;
}

/* Note how much each loop has to run, where that has changed. */
void
loops_count_ready(Core *core, int64_t now)
{
    for (size_t index = 0; index < core->tasks.loops_used; index++) {
        Loop *loop = &core->tasks.loops[index];
        PyObject *alive = weak_referent(loop->reference);
        PyObject *ready = alive != NULL ? ready_queue(alive) : NULL;
        Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : -1;
        Py_XDECREF(ready);
        PyErr_Clear();
        if (count >= 0 && count != loop->ready) {
            int64_t *counter = array_push(&core->tables.counters, 3 * sizeof *counter);
            if (counter != NULL) {
                counter[0] = now;
                counter[1] = (int64_t)index;
                counter[2] = loop->ready = count;
            }
        }
    }
}
