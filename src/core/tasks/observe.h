/* Observes a task: its await chain, and what it waits for. */
#ifndef FGTRACE_TASKS_OBSERVE_H
#define FGTRACE_TASKS_OBSERVE_H

#include "tasks/questions.h"
#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

bool task_observe(Tasks *tasks, Task *record, bool ran, int64_t now);
void task_note_waiter(Tasks *tasks, Task *record, PyObject *waiter);
int32_t task_chain(Tasks *tasks, Task *record, PyObject *task, PyObject *waiter, int64_t now, uint32_t *detail,
                   QuestionKind *question);
void tasks_end_all(Tasks *tasks, int64_t now);
void tasks_free(Tasks *tasks);

#pragma GCC visibility pop
#endif
