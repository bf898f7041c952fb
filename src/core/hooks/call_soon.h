/* Schedules callbacks: ``call_soon``, ``_call_soon`` and ``call_at`` once more in C. */
#ifndef FGTRACE_HOOKS_CALL_SOON_H
#define FGTRACE_HOOKS_CALL_SOON_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

PyObject *call_soon_inner_method(PyObject *module, PyObject *arguments);
PyObject *call_soon_outer_method(PyObject *module, PyObject *arguments);
PyObject *call_at_method(PyObject *module, PyObject *arguments);

#pragma GCC visibility pop
#endif
