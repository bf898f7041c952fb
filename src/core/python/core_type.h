/* The core's face towards Python: what its files share. */
#ifndef FGTRACE_FACE_H
#define FGTRACE_FACE_H

#include "exact/step_chunks.h"

#pragma GCC visibility push(hidden)

#define METHOD(name, function, how) {name, (PyCFunction)(void (*)(void))(function), how, NULL}

extern PyMethodDef taken_methods[], answer_methods[];

PyTypeObject *face_type(void);

#pragma GCC visibility pop
#endif
