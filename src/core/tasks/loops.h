/* Loops: in which thread they run, what they have to run, what they are called. */
#ifndef FGTRACE_TASKS_LOOPS_H
#define FGTRACE_TASKS_LOOPS_H

#include "tables/tables.h"
#include "threads/threads.h"

#pragma GCC visibility push(hidden)

typedef struct {
    PyObject *reference; /* strong: a weak reference to the loop */
    PyObject *loop;      /* its address */
    unsigned long ident; /* of its thread, 0: unknown */
    int64_t ready;       /* the length of its ready queue, -1: unknown */
    bool is_compiled; /* it has handles of its own */
    bool is_exact, is_begun, is_ended; /* its steps are noted; those under way at the start are settled; it was closed */
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
