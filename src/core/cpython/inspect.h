/* Reads objects without running the program's code: whatever is asked of an object of the program goes through here. */
#ifndef FGTRACE_CPYTHON_INSPECT_H
#define FGTRACE_CPYTHON_INSPECT_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

PyObject *inspect_attribute(PyObject *object, const char *name);
PyObject *inspect_class_name(PyTypeObject *type);

/* Return the reference (borrowed) that an object holds at an offset, or NULL. */
static inline PyObject *
field_at(PyObject *object, Py_ssize_t offset)
{
    return *(PyObject **)((char *)object + offset);
}

/* Return the object (borrowed) that a weak reference refers to; NULL when it is gone. */
static inline PyObject *
weak_referent(PyObject *reference)
{
    PyObject *found = ((PyWeakReference *)reference)->wr_object;
    return found == Py_None ? NULL : found;
}

/* Return whether an object is a `Gen`: a coroutine, a generator or an asynchronous generator. */
static inline bool
gen_check(PyObject *object)
{
    return PyCoro_CheckExact(object) || PyGen_CheckExact(object) || PyAsyncGen_CheckExact(object);
}

#pragma GCC visibility pop
#endif
