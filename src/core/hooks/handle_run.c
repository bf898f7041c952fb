/* Runs callbacks: ``Handle._run`` once more in C, for as long as a trace needs it. The listeners are told.
 *
 * It does what asyncio does (3.11 to 3.15 agree): it calls the callback in its context, and what the callback raises
 * goes to the loop's exception handler, but for SystemExit and KeyboardInterrupt. Where another tool had replaced the
 * method, that tool's method is called. One thing differs: no frame of ``_run`` is on the stack, though tracebacks
 * have one.
 */
#include "hooks/handle_run.h"
#include "cpython/inspect.h"
#include "hooks/listeners.h"
#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#endif

Asyncio asyncio; /* what is known of asyncio's handles, and what was there before our method */

/* Return whether a builtin method is the one that wakes a task; a task's other methods may be scheduled as well
 * (``task.cancel``). */
static bool
is_wakeup(PyObject *callback)
{
    static PyMethodDef *wakeup;
    PyMethodDef *definition = ((PyCFunctionObject *)callback)->m_ml;
    if (definition == wakeup) {
        return true;
    }
    if (strcmp(definition->ml_name, "task_wakeup") != 0 && strcmp(definition->ml_name, "TaskWakeupMethWrapper") != 0) {
        return false;
    }
    wakeup = definition;
    return true;
}

/* Return the task that a callback steps or wakes (borrowed), or NULL. */
PyObject *
handle_task(PyObject *callback)
{
    if (callback == NULL) {
        return NULL;
    }
    if (Py_TYPE(callback) == asyncio.step) {
        return field_at(callback, sizeof(PyObject));
    }
    return PyCFunction_Check(callback) && is_wakeup(callback) ? PyCFunction_GET_SELF(callback) : NULL;
}

/* Put an exception of a callback to the loop's handler, as ``Handle._run`` does; a function of ours in Python does
 * it, for it is rare. Return None (strong), or NULL with an exception. */
static PyObject *
failed(PyObject *handle)
{
    _PyTraceback_Add("_run", asyncio.file, asyncio.line); /* as if the frame of ``_run`` had been there */
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return NULL;
    }
    PyObject *error = fetch_exception();
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(error); /* what ``sys.exception()`` gives within an ``except`` */
    PyObject *result = PyObject_CallFunctionObjArgs(asyncio.report, handle, error, NULL);
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_XDECREF(error);
    return result;
}

/* Return whether a handle is of a type whose slots we know. */
static bool
is_plain(PyObject *handle)
{
    PyTypeObject *type = Py_TYPE(handle);
    return type == asyncio.handle || type == asyncio.timer ||
           (type->tp_base == asyncio.handle && strcmp(type->tp_name, "_ThreadSafeHandle") == 0);
}

/* The handle for which the method that was there before is being called. */
static _Thread_local PyObject *chained __attribute__((tls_model("initial-exec")));

/* Call the method that was there before, and return what it returns. */
static PyObject *
call_before(PyObject *handle)
{
    PyObject *outer = chained;
    chained = handle;
    PyObject *result = PyObject_CallOneArg(asyncio.run, handle);
    chained = outer;
    return result;
}

/* Run a handle, and return None (strong), or NULL with an exception. */
static PyObject *
run(PyObject *handle)
{
    PyObject *context = field_at(handle, asyncio.context);
    PyObject *callback = field_at(handle, asyncio.callback), *arguments = field_at(handle, asyncio.args);
    bool is_usual = is_plain(handle) && context != NULL && PyContext_CheckExact(context) && callback != NULL &&
                    arguments != NULL && PyTuple_CheckExact(arguments);
    bool is_inner = chained == handle; /* a tool that had our method calls it as what it thinks was before its own */
    if (is_inner && !is_usual) {
        PyErr_SetString(PyExc_RuntimeError, "fgtrace cannot run this handle below another tool's wrapper");
        return failed(handle);
    }
    if (!is_inner && (!asyncio.is_stock || !is_usual)) {
        return call_before(handle);
    }
    Py_INCREF(handle); /* a callback may cancel its own handle, which then forgets all of this */
    Py_INCREF(context);
    Py_INCREF(callback);
    Py_INCREF(arguments);
    PyObject *result = NULL;
    if (PyContext_Enter(context) == 0) {
        result = PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(arguments, 0), (size_t)PyTuple_GET_SIZE(arguments),
                                     NULL);
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(result);
        }
    }
    Py_DECREF(context);
    Py_DECREF(callback);
    Py_DECREF(arguments);
    if (result == NULL) {
        result = failed(handle);
    }
    else {
        Py_SETREF(result, Py_NewRef(Py_None));
    }
    Py_DECREF(handle);
    return result;
}

/* Our ``Handle._run``: tell the listeners, and run the handle. */
static PyObject *
handle_run(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (chained == self) {
        return run(self); /* the listeners were told already */
    }
    PyObject *task = handle_task(field_at(self, asyncio.callback));
    if (task != NULL && listeners.will_run != NULL) {
        listeners.will_run(task);
    }
    void *step = listeners.entered != NULL ? listeners.entered(self, task) : NULL;
    PyObject *result = run(self);
    if (step != NULL) {
        listeners.left(step);
    }
    return result;
}

static PyMethodDef run_definition = {"_run", handle_run, METH_NOARGS, "Run the callback; fgtrace is told of it."};

/* Find the offset of a slot; return false with an exception. */
static bool
find_slot(PyObject *type, const char *name, Py_ssize_t *offset)
{
    PyObject *slot = PyObject_GetAttrString(type, name);
    bool is_found = slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type);
    if (is_found) {
        *offset = ((PyMemberDescrObject *)slot)->d_member->offset;
    }
    else if (slot != NULL) {
        PyErr_SetString(PyExc_TypeError, "asyncio's Handle is not what it was");
    }
    Py_XDECREF(slot);
    return is_found;
}

/* Learn where a handle has its fields. Arguments: Handle, TimerHandle, the type of asyncio's wrapper of a task's
 * step, the function that tells a loop of an exception, and the callback that does nothing. */
PyObject *
handle_run_learn(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *handle, *timer, *step, *report, *nothing;
    if (!PyArg_ParseTuple(arguments, "O!O!O!OO", &PyType_Type, &handle, &PyType_Type, &timer, &PyType_Type, &step,
                          &report, &nothing) ||
        !find_slot(handle, "_context", &asyncio.context) || !find_slot(handle, "_callback", &asyncio.callback) ||
        !find_slot(handle, "_args", &asyncio.args) || !find_slot(handle, "_loop", &asyncio.loop) ||
        !find_slot(handle, "_cancelled", &asyncio.cancelled) || !find_slot(handle, "_repr", &asyncio.repr) ||
        !find_slot(handle, "_source_traceback", &asyncio.source_traceback) ||
        !find_slot(timer, "_when", &asyncio.when) || !find_slot(timer, "_scheduled", &asyncio.scheduled)) {
        return NULL;
    }
    Py_XSETREF(asyncio.handle, (PyTypeObject *)Py_NewRef(handle));
    Py_XSETREF(asyncio.timer, (PyTypeObject *)Py_NewRef(timer));
    Py_XSETREF(asyncio.step, (PyTypeObject *)Py_NewRef(step));
    Py_XSETREF(asyncio.report, Py_NewRef(report));
    Py_XSETREF(asyncio.nothing, Py_NewRef(nothing));
    Py_RETURN_NONE;
}

/* Return a method (strong) for the place of ``Handle._run``; NULL with an exception. Arguments: the class, the method
 * that is there, whether that one is asyncio's, and the file and line from which it calls. */
PyObject *
handle_run_method(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *type, *before;
    const char *file;
    int is_stock, line;
    if (!PyArg_ParseTuple(arguments, "O!Opsi", &PyType_Type, &type, &before, &is_stock, &file, &line)) {
        return NULL;
    }
    free(asyncio.file);
    asyncio.file = strdup(file);
    asyncio.line = line;
    Py_XSETREF(asyncio.run, Py_NewRef(before));
    asyncio.is_stock = is_stock != 0;
    return PyDescr_NewMethod((PyTypeObject *)type, &run_definition);
}
