/* Observes every thread: its frames, and whether its CPU clock moved. What a tick is to read of a thread besides is
 * added to `Thread` and to `threads_walk`. */
#ifndef FGTRACE_THREADS_THREADS_H
#define FGTRACE_THREADS_THREADS_H

#include "tables/tables.h"
#include "tables/walk.h"

#pragma GCC visibility push(hidden)

/* Shares of the time between two ticks: a CPU clock that moved less counts as still, one that moved more as busy. */
#define STILL 0.02
#define BUSY 0.9
/* A thread that waits for the GIL wakes at each switch interval to ask for it, which takes some microseconds of CPU
 * time. A thread whose clock did not move at all for that many intervals waits for something else. */
#define FROZEN_AFTER 2
#define SOONEST 500000 /* ns: a tick that comes sooner after the last one learns nothing from the clocks */

/* What a thread's CPU clock did, by the numbers of `fgtrace._sampling.collect.threads`. The first five are noted; SOME
 * is a share between STILL and BUSY. The others last for one tick: TOO_SOON is not known, FROZEN is still for long. */
enum { UNKNOWN, RAN, SOME, STOOD_STILL, STARVED, TOO_SOON = -2, FROZEN = -3 };

typedef struct {
    uint64_t id; /* of the thread state, which is never used twice */
    unsigned long ident;
    int64_t native; /* the native id */
    int64_t cpu, time; /* what its CPU clock said, and when; -1: not read yet */
    int64_t moved;  /* when its CPU clock was last seen to have moved */
    PyObject *name; /* strong, or NULL */
    size_t first, count; /* its frames in the path of this tick, leaf first */
    uint32_t track, tick;
    int32_t stack;
    int8_t noted;  /* what its clock did, as the last row says; -1: there is no row yet */
    int8_t latest; /* what its clock did in this tick */
    int8_t waits;  /* the system said, since the clock stopped, that the thread does not want to run */
} Thread;

typedef struct {
    Tables *tables; /* of the same core */
    Walk *walk;
    Thread *items;
    size_t used, room;
    bool is_wanted;
    PyObject *active; /* strong: threading._active */
    PyObject *hidden; /* strong: a set of idents, or NULL */
    int64_t walked; /* when the last walk ended, on the system's clock */
    uint32_t tick;  /* the number of this tick: a thread with an earlier one was not found */
} Threads;

bool threads_walk(Threads *threads, int64_t now);
void threads_note(Threads *threads, int64_t now);
void threads_free(Threads *threads);
PyObject *thread_name(Threads *threads, unsigned long ident);

#pragma GCC visibility pop
#endif
