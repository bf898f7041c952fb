/* The type `Core`: making one, telling it of asyncio, having it look. */
#ifndef FGTRACE_PYTHON_CORE_TYPE_H
#define FGTRACE_PYTHON_CORE_TYPE_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

PyTypeObject *core_type_ready(void);

#pragma GCC visibility pop
#endif
