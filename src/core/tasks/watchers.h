/* Lists of the task tables that are told of something. */
#ifndef FGTRACE_TASKS_WATCHERS_H
#define FGTRACE_TASKS_WATCHERS_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

#define MOST_WATCHERS 16 /* tables in one list */

bool watchers_add(Tasks **list, Tasks *tasks);
void watchers_remove(Tasks **list, const Tasks *tasks);

#pragma GCC visibility pop
#endif
