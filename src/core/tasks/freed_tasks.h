/* Tells when the memory of a task is free for the next one. */
#ifndef FGTRACE_TASKS_FREED_TASKS_H
#define FGTRACE_TASKS_FREED_TASKS_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

bool freed_tasks_watch(Tasks *tasks, PyTypeObject *of);
void freed_tasks_unwatch(Tasks *tasks);
void freed_tasks_forget(void);
bool freed_tasks_are_watched(const PyTypeObject *of);

#pragma GCC visibility pop
#endif
