/* Knows which tasks ran, so that a tick need not observe all. */
#ifndef FGTRACE_HOOKS_RAN_MARKS_H
#define FGTRACE_HOOKS_RAN_MARKS_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

bool marks_begin(Tasks *tasks);
void marks_end(Tasks *tasks);
bool marks_cover_loops(const Tasks *tasks);
bool marks_suffice(const Tasks *tasks);
void visit_in_turn(Tasks *tasks, int64_t now);
void marks_visit(Tasks *tasks, int64_t now, int64_t until);
void marks_forget(void);

#pragma GCC visibility pop
#endif
