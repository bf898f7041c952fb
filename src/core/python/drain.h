/* Methods of `Core`: Python drains what the core has found. What is found of a new kind gets a method here. */
#ifndef FGTRACE_PYTHON_DRAIN_H
#define FGTRACE_PYTHON_DRAIN_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

extern PyMethodDef drain_methods[];

#pragma GCC visibility pop
#endif
