/* Knows the loops: the thread in which each runs, how much it has to run, and what it is called. */
#ifndef FGTRACE_TASKS_LOOPS_H
#define FGTRACE_TASKS_LOOPS_H

#include "tables/tables.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

typedef struct {
    PyObject *reference; /* strong: a weak reference to the loop */
    PyObject *loop;      /* its address, which is only compared */
    unsigned long ident; /* of the thread that runs it; 0: unknown */
    int64_t ready;       /* the length of its ready queue; -1: unknown */
    bool is_compiled; /* it has handles of its own, as uvloop has */
    /* its steps are noted; those that were under way at the start have ended; it was closed */
    bool is_exact, is_begun, is_ended;
} Loop;

typedef struct {
    Tables *tables; /* of the same core */
    Threads *threads;
    Loop *items;
    size_t used, room;
} Loops;

int loop_index(Loops *loops, PyObject *loop);
long loop_thread(PyObject *loop);
void loop_set_thread(Loops *loops, size_t index, unsigned long ident);
PyObject *loop_ready_queue(PyObject *loop);
void loops_count_ready(Loops *loops, int64_t now);
void loops_free(Loops *loops);

#pragma GCC visibility pop
#endif
