/* What a trace with exact awaits keeps: its steps in chunks, the callbacks of its loops, garbage collections. */
#ifndef FGTRACE_CHUNKS_H
#define FGTRACE_CHUNKS_H

#include "core.h"
#include <pthread.h>

#pragma GCC visibility push(hidden)

#define MOST_COLLECTIONS 100000 /* of the garbage collector; more are counted only */
#define STEP_ROW (1ULL << 62) /* in a question: the number is a step's, not a row's */

typedef struct {
    int64_t start, end, ready;
    uint32_t track, waker, stack, detail;
} Step;

typedef struct StepChunk StepChunk;

struct Exact { /* of one trace with exact awaits */
    StepChunk *first, *last;
    uint64_t count, written, taken, lost; /* steps: noted, in the file, given to Python, not noted */
    size_t chunks, most_chunks;
    pthread_mutex_t lock; /* the list of chunks, between the program's threads and the clock's */
    char *folder;
    int file, failed; /* failed: the error of the file */
    bool is_watching; /* it is told of compiled loops' steps */
    bool has_closed;  /* a closed loop has a queue yet: see `exact_purge` */
    Array callbacks;
    Index callback_index;
    Array collections; /* of int64_t[5] */
    int64_t collection_began;
    uint64_t collections_dropped;
};

/* --- chunks.c --- */

Exact *chunks_new(const char *folder, size_t most_bytes);
void chunks_free(Exact *exact);
void chunks_keep(Core *core, const Step *step);
void chunks_spill(Core *core); /* by the clock, without the GIL */
PyObject *chunks_block(Core *core, size_t number);
PyObject *chunks_take(Core *core);
bool chunks_amend(Core *core, uint64_t number, int32_t stack, uint32_t detail);

/* --- callbacks.c --- */

uint32_t callbacks_number(Core *core, PyObject *callback);
void callbacks_free(Exact *exact);

#pragma GCC visibility pop
#endif
