/* Every thread: its frames, and whether its CPU clock moved. */
#ifndef FGTRACE_THREADS_THREADS_H
#define FGTRACE_THREADS_THREADS_H

#include "tables/tables.h"
#include "tables/walk.h"

#pragma GCC visibility push(hidden)

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
    int64_t looked;
    uint32_t tick;
} Threads;

bool threads_walk(Threads *threads, int64_t now);
void threads_note(Threads *threads, int64_t now);
void threads_free(Threads *threads);
PyObject *thread_name(Threads *threads, unsigned long ident);

#pragma GCC visibility pop
#endif
