/* The constants that C and Python share: a new one is added to a table in constants.c. */
#ifndef FGTRACE_PYTHON_CONSTANTS_H
#define FGTRACE_PYTHON_CONSTANTS_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

PyObject *constants_new(void);

#pragma GCC visibility pop
#endif
