/* The type `Core`: making a core, telling it of asyncio, running and ending it. A method is added to the table of its
 * file: here, in drain.c or in answers.c; a function of no single core, in module.c. */
#ifndef FGTRACE_PYTHON_CORE_TYPE_H
#define FGTRACE_PYTHON_CORE_TYPE_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

PyTypeObject *core_type_ready(void);

#pragma GCC visibility pop
#endif
