/* Every thread: its frames, and whether its CPU clock moved. */
#ifndef FGTRACE_THREADS_THREADS_H
#define FGTRACE_THREADS_THREADS_H

#include "tables/tables.h"
#include "tables/walk.h"

#pragma GCC visibility push(hidden)

/* Of the time between two ticks: below it a CPU clock counts as still, from it on as busy. */
#define STILL 0.02
#define BUSY 0.9
/* A thread that waits for the GIL wakes at each switch interval to ask for it, which takes it some microseconds. One whose
 * clock did not move at all for so many of them waits for something else. */
#define FROZEN_AFTER 2
#define SOONEST 500000 /* ns: a tick that comes sooner after the last one tells nothing of the clocks */

/* What a thread's CPU clock did: the first five are noted, as `fgtrace._sampling.collect.threads` numbers them. */
enum { UNKNOWN, RAN, SOME, STOOD_STILL, STARVED, ENDED = -1, TOO_SOON = -2, FROZEN = -3 };

typedef struct {
    uint64_t id; /* the thread state's: never used twice */
    unsigned long ident;
    int64_t native, cpu, time, moved;
    PyObject *name; /* strong, or NULL */
    size_t first, count; /* its frames in the path of this tick, leaf first */
    uint32_t track, tick;
    int32_t stack;
    int8_t ran, value, still; /* what its clock did: noted, now; whether it was doubted before */
} Thread;

typedef struct {
    Tables *tables; /* of the same core */
    Walk *walk;
    Thread *items;
    size_t used, room;
    bool is_wanted;
    PyObject *active; /* strong: threading._active */
    PyObject *hidden; /* strong: a set of idents, or NULL */
    int64_t walked;
    uint32_t tick;
} Threads;

bool threads_walk(Threads *threads, int64_t now);
void threads_note(Threads *threads, int64_t now);
void threads_free(Threads *threads);
PyObject *thread_name(Threads *threads, unsigned long ident);

#pragma GCC visibility pop
#endif
