/* Exact awaits: keeps the steps of a trace, in chunks. */
#ifndef FGTRACE_EXACT_STEP_CHUNKS_H
#define FGTRACE_EXACT_STEP_CHUNKS_H

#include "cpython/version_compat.h"
#include <pthread.h>

#pragma GCC visibility push(hidden)

typedef struct {
    int64_t start, end, ready;
    uint32_t track, waker, stack, detail;
} Step;

#define STEP_FORMAT "qqqIIII" /* the layout by which Python reads it: see fgtrace._recording.step_records */
_Static_assert(sizeof(Step) == 40 && offsetof(Step, track) == 24 && offsetof(Step, detail) == 36,
               "steps are read by STEP_FORMAT");

typedef struct StepChunk StepChunk;

typedef struct {
    StepChunk *first, *last;
    /* how many steps were noted, are in the file, were given to Python, could not be noted */
    uint64_t count, written, drained, lost;
    size_t chunks, most_chunks;
    pthread_mutex_t lock; /* protects the list of chunks, between the program's threads and the clock's */
    char *folder;
    int file, failed; /* failed: the errno of the file, or 0 */
} Steps;

bool chunks_begin(Steps *steps, const char *folder, size_t most_bytes);
void chunks_free(Steps *steps);
void chunks_keep(Steps *steps, const Step *step);
void chunks_spill(Steps *steps);
PyObject *chunks_block(Steps *steps, size_t number);
PyObject *chunks_drain(Steps *steps);
bool chunks_amend(Steps *steps, uint64_t number, int32_t stack, uint32_t detail);

#pragma GCC visibility pop
#endif
