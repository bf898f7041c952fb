/* Methods of `Core`: questions to Python, their answers, and tables for the part of the work that Python does. */
#ifndef FGTRACE_PYTHON_ANSWERS_H
#define FGTRACE_PYTHON_ANSWERS_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

extern PyMethodDef answer_methods[];

#pragma GCC visibility pop
#endif
