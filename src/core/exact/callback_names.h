/* Exact awaits: names the callbacks of loops. */
#ifndef FGTRACE_EXACT_CALLBACK_NAMES_H
#define FGTRACE_EXACT_CALLBACK_NAMES_H

#include "tables/tables.h"

#pragma GCC visibility push(hidden)

#define DEEPEST_PARTIAL 16 /* bound methods and partials that are followed, one within the other */

typedef struct {
    Array items; /* of Callback */
    Index index;
} Callbacks;

uint32_t callbacks_number(Callbacks *callbacks, Tables *tables, PyObject *callback);
void callbacks_free(Callbacks *callbacks);

#pragma GCC visibility pop
#endif
