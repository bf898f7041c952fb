/* Observes every thread: its frames, and whether its CPU clock moved. */
#ifndef FGTRACE_THREADS_THREADS_H
#define FGTRACE_THREADS_THREADS_H

#include "tables/tables.h"
#include "tables/walk.h"

#pragma GCC visibility push(hidden)

/* Shares of the time between two ticks: a CPU clock that moved less counts as still, one that moved more as busy. */
#define STILL 0.02
#define BUSY 0.9
/* A thread that waits for the GIL wakes at each switch interval to ask for it, which takes some microseconds of CPU
 * time. A thread whose clock did not move at all for so many intervals waits for something else. */
#define FROZEN_AFTER 2
#define SOONEST 500000 /* ns: a tick that comes sooner after the last one learns nothing from the clocks */

/* What a thread's CPU clock did. The first five are noted, by the numbers of `fgtrace._sampling.collect.threads`. */
enum { UNKNOWN, RAN, SOME, STOOD_STILL, STARVED, ENDED = -1, TOO_SOON = -2, FROZEN = -3 };

typedef struct {
    uint64_t id; /* of the thread state, which is never used twice */
    unsigned long ident;
    int64_t native, cpu, time, moved;
    PyObject *name; /* strong, or NULL */
    size_t first, count; /* its frames in the path of this tick, leaf first */
    uint32_t track, tick;
    int32_t stack;
    /* what its clock did: as noted, and in this tick; whether the system was asked since it stopped */
    int8_t noted, latest, waits;
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
