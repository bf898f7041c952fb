/* Exact awaits: keeps the collections of the garbage collector. */
#ifndef FGTRACE_EXACT_GARBAGE_COLLECTIONS_H
#define FGTRACE_EXACT_GARBAGE_COLLECTIONS_H

#include "cpython/version_compat.h"
#include "tables/arrays.h"

#pragma GCC visibility push(hidden)

#define MOST_COLLECTIONS 100000 /* later ones are only counted */
#define COLLECTION_NUMBERS 5 /* of a collection: start, end, native id of the thread, generation, collected */

typedef struct {
    Array items; /* of int64_t[COLLECTION_NUMBERS] */
    int64_t began; /* -1: none is under way */
    uint64_t dropped;
} Collections;

void collections_note(Collections *collections, PyObject *phase, PyObject *information, int64_t now);

#pragma GCC visibility pop
#endif
