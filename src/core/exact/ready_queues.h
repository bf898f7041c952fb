/* Exact awaits: knows the loops, and what each is to run. */
#ifndef FGTRACE_EXACT_READY_QUEUES_H
#define FGTRACE_EXACT_READY_QUEUES_H

#include "cpython/inspect.h"
#include "exact/exact_state.h"

#pragma GCC visibility push(hidden)

void exact_loop_note_end(const ExactLoop *loop, size_t place, int64_t now);
ExactLoop *exact_loop_find(PyObject *loop);
uint32_t exact_loop_find_index(ExactLoop *loop, size_t place);
Scheduled *ready_push(ExactLoop *loop);
bool ready_remove(ExactLoop *loop, const PyObject *handle, Scheduled *found);
void ready_note_closed(Exact *exact, const ExactLoop *loop, int64_t now);
void ready_purge(Exact *exact);
void exact_loops_free(ExactLoop *dead);

/* Return what is known of a loop, or NULL. */
static inline ExactLoop *
exact_loop_of(PyObject *loop)
{
    ExactLoop *first = exact_state.loops;
    bool is_first = first != NULL && first->loop == loop && weak_referent(first->reference) == loop;
    return is_first ? first : exact_loop_find(loop);
}

/* Return a loop's number in a trace; NONE where that trace is not told of its steps. */
static inline uint32_t
exact_loop_index(ExactLoop *loop, size_t place)
{
    return loop->index[place] != NONE ? loop->index[place] : exact_loop_find_index(loop, place);
}

#pragma GCC visibility pop
#endif
