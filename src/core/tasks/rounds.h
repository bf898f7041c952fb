/* Observes all tasks in rounds: a call observes as many as the budget allows, and the next one goes on there. */
#ifndef FGTRACE_TASKS_ROUNDS_H
#define FGTRACE_TASKS_ROUNDS_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

void observe_round(Tasks *tasks, int64_t now, int64_t until);
void observe_new(Tasks *tasks, int64_t now, int64_t until);

#pragma GCC visibility pop
#endif
