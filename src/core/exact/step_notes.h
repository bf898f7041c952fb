/* Exact awaits: notes a step of a task, or a callback, when it ends. */
#ifndef FGTRACE_EXACT_STEP_NOTES_H
#define FGTRACE_EXACT_STEP_NOTES_H

#include "exact/exact_state.h"

#pragma GCC visibility push(hidden)

void step_note_in_all(OpenStep *open, int64_t end);
void end_first_steps(ExactLoop *loop, int64_t now);
bool step_so_far(Exact *exact, size_t place, const OpenStep *open, int64_t now, Step *step);

#pragma GCC visibility pop
#endif
