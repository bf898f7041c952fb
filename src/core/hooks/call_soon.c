/* Schedules callbacks: ``BaseEventLoop.call_soon`` and ``_call_soon`` once more in C, for as long as a trace with
 * exact awaits needs them; the listeners are told. ``call_at`` tells nobody: the time it saves pays for the rest.
 *
 * These functions do what asyncio does (3.11 to 3.15 agree) for a loop that is open, not in debug mode, and of which
 * no method that takes part was overridden or replaced; else they call what was there before. Two calls of Python
 * functions are saved, of `_check_closed` and of the one that makes a handle, and they pay for the notes.
 */
#include "hooks/call_soon.h"
#include "cpython/inspect.h"
#include "hooks/handle_run.h"
#include "hooks/listeners.h"

#define MOST_PLAIN 6   /* arguments that are passed on without an allocation */
#define MOST_DEPTH 8   /* tools that call each other, one within the other */

static struct {
    PyTypeObject *deque;
    PyObject *append, *get_debug, *check_closed, *inner; /* strong: methods; `inner` is our `_call_soon` */
    PyObject *inner_before, *outer_before, *at_before;     /* strong: what was there before our methods */
    PyObject *at_stock, *heappush;                         /* strong: asyncio's own `call_at`, and what it calls */
    bool is_inner_stock, is_outer_stock, is_at_stock;      /* asyncio's own was there */
    PyObject *debug_name, *ready_name, *closed_name, *context_name, *scheduled_name; /* strong */
    PyObject *get_debug_name, *check_closed_name, *inner_name;
} soon;

/* Set a slot of a new handle, which steals the reference. */
static void
set_slot(PyObject *handle, Py_ssize_t offset, PyObject *value)
{
    *(PyObject **)((char *)handle + offset) = value;
}

/* Return a handle (strong), as ``Handle.__init__`` makes it outside of debug mode; NULL with an exception. */
static PyObject *
new_handle(PyTypeObject *type, PyObject *loop, PyObject *callback, PyObject *arguments, PyObject *context)
{
    context = context == Py_None ? PyContext_CopyCurrent() : Py_NewRef(context);
    PyObject *handle = context != NULL ? type->tp_alloc(type, 0) : NULL;
    if (handle == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
    set_slot(handle, asyncio.context, context);
    set_slot(handle, asyncio.loop, Py_NewRef(loop));
    set_slot(handle, asyncio.callback, Py_NewRef(callback));
    set_slot(handle, asyncio.args, Py_NewRef(arguments));
    set_slot(handle, asyncio.cancelled, Py_NewRef(Py_False));
    set_slot(handle, asyncio.repr, Py_NewRef(Py_None));
    set_slot(handle, asyncio.source_traceback, Py_NewRef(Py_None));
    return handle;
}

/* Return whether the type of a loop has the method that we know. */
static bool
has_method(PyObject *loop, PyObject *name, const PyObject *method)
{
    return _PyType_Lookup(Py_TYPE(loop), name) == method;
}

/* Return whether an attribute of a loop is False. */
static bool
is_false(PyObject *loop, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(loop, name);
    if (value == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(value);
    return value == Py_False;
}

/* Return a queue (strong) of one of asyncio's own loops that is not in debug mode; NULL: asyncio has to schedule. */
static PyObject *
queue_of(PyObject *loop, PyObject *name, const PyTypeObject *type)
{
    PyObject *queue = NULL;
    if (has_method(loop, soon.get_debug_name, soon.get_debug) && is_false(loop, soon.debug_name)) {
        queue = PyObject_GenericGetAttr(loop, name);
        if (queue == NULL) {
            PyErr_Clear();
        }
    }
    if (queue != NULL && Py_TYPE(queue) != type) {
        Py_CLEAR(queue);
    }
    return queue;
}

/* Return the ready queue (strong) of such a loop; NULL: asyncio has to schedule. */
static PyObject *
plain_queue(PyObject *loop)
{
    return queue_of(loop, soon.ready_name, soon.deque);
}

/* Return a new handle (strong) that lies in a loop's queue; NULL with an exception. */
static PyObject *
schedule(PyObject *loop, PyObject *queue, PyObject *callback, PyObject *arguments, PyObject *context)
{
    PyObject *handle = new_handle(asyncio.handle, loop, callback, arguments, context);
    PyObject *both[] = {queue, handle};
    PyObject *done = handle != NULL ? PyObject_Vectorcall(soon.append, both, 2, NULL) : NULL;
    if (done == NULL) {
        Py_CLEAR(handle);
    }
    Py_XDECREF(done);
    return handle;
}

/* Call what was there before our method, and return what it returns. A tool that had ours may call it as what it
 * thinks was before its own: `depth` counts that. */
static PyObject *
call_before(int *depth, PyObject *before, PyObject *loop, PyObject *const *arguments, Py_ssize_t count,
            PyObject *names)
{
    if (*depth > MOST_DEPTH) {
        PyErr_SetString(PyExc_RecursionError, "call_soon() calls itself by way of another tool's wrapper");
        return NULL;
    }
    Py_ssize_t all = count + (names != NULL ? PyTuple_GET_SIZE(names) : 0);
    PyObject *few[MOST_PLAIN + 2], **whole = few, *result;
    if (all > MOST_PLAIN && (whole = PyMem_Malloc((size_t)(all + 2) * sizeof *whole)) == NULL) {
        return PyErr_NoMemory();
    }
    whole[0] = NULL;
    whole[1] = loop;
    memcpy(whole + 2, arguments, (size_t)all * sizeof *arguments);
    ++*depth;
    result = PyObject_Vectorcall(before, whole + 1, (size_t)(count + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    --*depth;
    if (whole != few) {
        PyMem_Free(whole);
    }
    return result;
}

/* Tell the listeners what was scheduled. */
static void
notify(PyObject *loop, PyObject *handle)
{
    if (listeners.scheduled != NULL && PyObject_TypeCheck(handle, asyncio.handle)) {
        listeners.scheduled(loop, handle);
    }
}

/* ``_call_soon(callback, args, context)`` */
static PyObject *
call_soon_inner(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static _Thread_local int depth; /* how deep this thread is in calls of what was there before */
    bool is_plain = count == 3 && names == NULL && (soon.is_inner_stock || depth > 0);
    PyObject *queue = is_plain ? plain_queue(self) : NULL, *handle = NULL;
    if (queue != NULL) {
        handle = schedule(self, queue, arguments[0], arguments[1], arguments[2]);
        Py_DECREF(queue);
    }
    else {
        handle = call_before(&depth, soon.inner_before, self, arguments, count, names);
    }
    if (handle != NULL && depth == 0) {
        notify(self, handle);
    }
    return handle;
}

/* Return the ready queue (strong) where all that `call_soon` calls is what we know, else NULL. */
static PyObject *
open_queue(PyObject *loop)
{
    bool is_known = soon.is_inner_stock && has_method(loop, soon.inner_name, soon.inner) &&
                    has_method(loop, soon.check_closed_name, soon.check_closed);
    if (is_known && is_false(loop, soon.closed_name)) {
        return plain_queue(loop);
    }
    return NULL;
}

/* Return whether the only keyword is the context. asyncio's own C code has a string of its own for it. */
static bool
is_context(PyObject *names)
{
    PyObject *name = PyTuple_GET_SIZE(names) == 1 ? PyTuple_GET_ITEM(names, 0) : NULL;
    return name != NULL && (name == soon.context_name || PyUnicode_CompareWithASCIIString(name, "context") == 0);
}

/* Do all that asyncio does, step by step, where no other method is left to call; return the handle (strong), or NULL
 * with an exception. */
static PyObject *
schedule_at_length(PyObject *loop, PyObject *callback, PyObject *arguments, PyObject *context)
{
    PyObject *done = PyObject_CallMethod(loop, "_check_closed", NULL);
    if (done != NULL && !is_false(loop, soon.debug_name)) {
        Py_SETREF(done, PyObject_CallMethod(loop, "_check_thread", NULL));
        if (done != NULL) {
            Py_SETREF(done, PyObject_CallMethod(loop, "_check_callback", "Os", callback, "call_soon"));
        }
    }
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    return PyObject_CallMethod(loop, "_call_soon", "OOO", callback, arguments, context);
}

/* Return a tuple of arguments (strong); NULL with an exception. */
static PyObject *
tuple_of(PyObject *const *items, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t each = 0; tuple != NULL && each < count; each++) {
        PyTuple_SET_ITEM(tuple, each, Py_NewRef(items[each]));
    }
    return tuple;
}

/* ``call_soon(callback, *args, context=None)`` */
static PyObject *
call_soon_outer(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static _Thread_local int depth; /* as in `call_soon_inner` */
    bool has_context = names != NULL && is_context(names);
    bool is_plain = count > 0 && (names == NULL || has_context) && (soon.is_outer_stock || depth > 0);
    PyObject *queue = is_plain ? open_queue(self) : NULL;
    if (queue == NULL && !(is_plain && depth > 0)) {
        return call_before(&depth, soon.outer_before, self, arguments, count, names);
    }
    PyObject *rest = tuple_of(arguments + 1, count - 1), *handle = NULL;
    PyObject *context = has_context ? arguments[count] : Py_None;
    if (rest != NULL && queue != NULL) {
        handle = schedule(self, queue, arguments[0], rest, context);
        if (handle != NULL) {
            notify(self, handle);
        }
    }
    else if (rest != NULL) {
        handle = schedule_at_length(self, arguments[0], rest, context);
    }
    Py_XDECREF(rest);
    Py_XDECREF(queue);
    return handle;
}

/* Return the list of timers (strong) of a loop that is open and has the methods that we know, else NULL. */
static PyObject *
open_timers(PyObject *loop)
{
    bool is_known = has_method(loop, soon.check_closed_name, soon.check_closed) && is_false(loop, soon.closed_name);
    return is_known ? queue_of(loop, soon.scheduled_name, &PyList_Type) : NULL;
}

/* Return a new timer (strong) that lies in a loop's list; NULL with an exception. */
static PyObject *
schedule_at(PyObject *loop, PyObject *timers, PyObject *const *arguments, Py_ssize_t count, PyObject *context)
{
    PyObject *rest = tuple_of(arguments + 2, count - 2);
    PyObject *timer = rest != NULL ? new_handle(asyncio.timer, loop, arguments[1], rest, context) : NULL;
    Py_XDECREF(rest);
    if (timer == NULL) {
        return NULL;
    }
    set_slot(timer, asyncio.when, Py_NewRef(arguments[0]));
    set_slot(timer, asyncio.scheduled, Py_NewRef(Py_False));
    PyObject *both[] = {timers, timer};
    /* it compares timers, so the program's code may run */
    PyObject *done = PyObject_Vectorcall(soon.heappush, both, 2, NULL);
    if (done == NULL) {
        Py_DECREF(timer);
        return NULL;
    }
    Py_DECREF(done);
    PyObject *before = field_at(timer, asyncio.scheduled);
    set_slot(timer, asyncio.scheduled, Py_NewRef(Py_True));
    Py_XDECREF(before);
    return timer;
}

/* ``call_at(when, callback, *args, context=None)`` */
static PyObject *
call_at(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static _Thread_local int depth; /* as in `call_soon_inner` */
    bool has_context = names != NULL && is_context(names);
    bool is_plain = count > 1 && arguments[0] != Py_None && (names == NULL || has_context) &&
                    (soon.is_at_stock || depth > 0);
    PyObject *timers = is_plain ? open_timers(self) : NULL;
    if (timers == NULL) {
        PyObject *before = depth > 0 && soon.at_stock != NULL ? soon.at_stock : soon.at_before;
        return call_before(&depth, before, self, arguments, count, names);
    }
    PyObject *timer = schedule_at(self, timers, arguments, count, has_context ? arguments[count] : Py_None);
    Py_DECREF(timers);
    return timer;
}

#define METHOD(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS
static PyMethodDef inner_definition = {"_call_soon", METHOD(call_soon_inner),
                                       "Schedule the callback; fgtrace is told of it."};
static PyMethodDef outer_definition = {"call_soon", METHOD(call_soon_outer),
                                       "Schedule the callback; fgtrace is told of it."};
static PyMethodDef at_definition = {"call_at", METHOD(call_at), "Schedule the callback, as asyncio does."};

/* Learn the methods and names that are compared; return false with an exception. */
static bool
learn(PyObject *type, PyObject *deque)
{
    Py_XSETREF(soon.scheduled_name, PyUnicode_InternFromString("_scheduled"));
    Py_XSETREF(soon.debug_name, PyUnicode_InternFromString("_debug"));
    Py_XSETREF(soon.ready_name, PyUnicode_InternFromString("_ready"));
    Py_XSETREF(soon.closed_name, PyUnicode_InternFromString("_closed"));
    Py_XSETREF(soon.context_name, PyUnicode_InternFromString("context"));
    Py_XSETREF(soon.inner_name, PyUnicode_InternFromString("_call_soon"));
    Py_XSETREF(soon.get_debug_name, PyUnicode_InternFromString("get_debug"));
    Py_XSETREF(soon.get_debug, PyObject_GetAttrString(type, "get_debug"));
    Py_XSETREF(soon.check_closed_name, PyUnicode_InternFromString("_check_closed"));
    Py_XSETREF(soon.check_closed, PyObject_GetAttrString(type, "_check_closed"));
    Py_XSETREF(soon.append, PyObject_GetAttrString(deque, "append"));
    Py_XSETREF(soon.deque, (PyTypeObject *)Py_NewRef(deque));
    return !PyErr_Occurred();
}

/* Return a method (strong) for the place of ``BaseEventLoop._call_soon``; NULL with an exception. Arguments: the
 * class, the method that is there, whether that one and the one that makes a handle are asyncio's, and
 * `collections.deque`. */
PyObject *
call_soon_inner_method(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *type, *before, *deque;
    int is_stock;
    if (!PyArg_ParseTuple(arguments, "O!OpO!", &PyType_Type, &type, &before, &is_stock, &PyType_Type, &deque) ||
        !learn(type, deque)) {
        return NULL;
    }
    Py_XSETREF(soon.inner_before, Py_NewRef(before));
    soon.is_inner_stock = is_stock != 0;
    Py_XSETREF(soon.inner, PyDescr_NewMethod((PyTypeObject *)type, &inner_definition));
    return Py_XNewRef(soon.inner);
}

/* Return a method (strong) for the place of ``BaseEventLoop.call_soon``, when the other one is in place; NULL with an
 * exception. Arguments: the class, the method that is there, whether that one and those that it calls are asyncio's. */
PyObject *
call_soon_outer_method(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *type, *before;
    int is_stock;
    if (!PyArg_ParseTuple(arguments, "O!Op", &PyType_Type, &type, &before, &is_stock)) {
        return NULL;
    }
    Py_XSETREF(soon.outer_before, Py_NewRef(before));
    soon.is_outer_stock = is_stock != 0;
    return PyDescr_NewMethod((PyTypeObject *)type, &outer_definition);
}

/* Return a method (strong) for the place of ``BaseEventLoop.call_at``; NULL with an exception. Arguments: the class,
 * the method that is there, the same one if it and those that it calls are asyncio's, else None, and
 * `heapq.heappush`. */
PyObject *
call_at_method(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *type, *before, *stock, *heappush;
    if (!PyArg_ParseTuple(arguments, "O!OOO", &PyType_Type, &type, &before, &stock, &heappush)) {
        return NULL;
    }
    Py_XSETREF(soon.at_before, Py_NewRef(before));
    Py_XSETREF(soon.heappush, Py_NewRef(heappush));
    soon.is_at_stock = stock != Py_None;
    if (soon.is_at_stock) {
        Py_XSETREF(soon.at_stock, Py_NewRef(stock));
    }
    return PyDescr_NewMethod((PyTypeObject *)type, &at_definition);
}
