/* Methods of `Core` for the part of the work that Python does: questions and what they are about, entries in tables. */
#ifndef FGTRACE_PYTHON_ANSWERS_H
#define FGTRACE_PYTHON_ANSWERS_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

extern PyMethodDef answer_methods[];

#pragma GCC visibility pop
#endif
