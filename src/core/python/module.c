/* ``fgtrace._core``: the module, with functions that are of no single core. */
#include "python/constants.h"
#include "python/core_type.h"
#include "exact/exact.h"
#include "exact/open_steps.h"
#include "hooks/call_soon.h"
#include "hooks/context_switches.h"
#include "hooks/handle_run.h"
#include "hooks/ran_marks.h"
#include "tasks/freed_tasks.h"

/* Return the words of an object's fixed part, as numbers: calibration looks in them for values that it knows. */
static PyObject *
memory_words(PyObject *Py_UNUSED(module), PyObject *object)
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

/* Return the address of the newest node in this thread's list of tasks (3.14+), or 0. */
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

/* Assume that a step of a task is under way in this thread (loop, task). */
static PyObject *
assume_step(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *loop, *task;
    if (!PyArg_ParseTuple(arguments, "OO", &loop, &task)) {
        return NULL;
    }
    step_assume(loop, task);
    Py_RETURN_NONE;
}

/* Begin to watch switches of contexts, and return whether that is possible; or end to watch them. */
static PyObject *
watch_contexts(PyObject *Py_UNUSED(module), PyObject *wanted)
{
    if (PyObject_IsTrue(wanted)) {
        return PyBool_FromLong(contexts_watch());
    }
    contexts_unwatch();
    Py_RETURN_TRUE;
}

/* Return whether a core is told when instances of a type are freed. */
static PyObject *
watches_freed_tasks(PyObject *Py_UNUSED(module), PyObject *type)
{
    return PyBool_FromLong(PyType_Check(type) && freed_tasks_are_watched((PyTypeObject *)type));
}

/* Trace nothing any more, in the child of a fork. */
static PyObject *
forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    marks_forget();
    exact_forget();
    contexts_forget();
    freed_tasks_forget();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"forget", forget, METH_NOARGS, NULL},
    {"assume_step", assume_step, METH_VARARGS, NULL},
    {"make_call_soon_inner", call_soon_inner_method, METH_VARARGS, NULL},
    {"make_call_soon", call_soon_outer_method, METH_VARARGS, NULL},
    {"make_call_at", call_at_method, METH_VARARGS, NULL},
    {"learn_handles", handle_run_learn, METH_VARARGS, NULL},
    {"make_handle_run", handle_run_method, METH_VARARGS, NULL},
    {"newest_task", newest_task, METH_NOARGS, NULL},
    {"watch_contexts", watch_contexts, METH_O, NULL},
    {"watches_freed_tasks", watches_freed_tasks, METH_O, NULL},
    {"memory_words", memory_words, METH_O, NULL},
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
    PyObject *type = (PyObject *)core_type_ready();
    PyObject *constants = type != NULL ? constants_new() : NULL;
    PyObject *module = constants != NULL ? PyModule_Create(&definition) : NULL;
    bool is_whole = module != NULL && PyModule_AddObjectRef(module, "Core", type) == 0 &&
                    PyModule_AddObjectRef(module, "constants", constants) == 0 &&
                    PyModule_AddIntConstant(module, "version_hex", PY_VERSION_HEX) == 0;
    Py_XDECREF(constants);
    if (!is_whole) {
        Py_CLEAR(module);
    }
    return module;
}
