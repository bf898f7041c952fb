/* Gives a task that is seen for the first time its record, its track, its names and its loop. */
#ifndef FGTRACE_TASKS_FIRST_SEEN_H
#define FGTRACE_TASKS_FIRST_SEEN_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

Task *task_first_seen(Tasks *tasks, PyObject *task, PyObject *reference, int64_t now);
void task_begin_track(Tasks *tasks, Task *record, PyObject *task, int64_t now);
void task_rename(Tasks *tasks, Task *record, PyObject *task, bool is_first);

#pragma GCC visibility pop
#endif
