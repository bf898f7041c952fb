/* Reads what kind of future a task waits for, and whose it is. A new kind is added to the enum below, to `waiter_read`
 * and to `WAITER_KINDS` in Python. */
#ifndef FGTRACE_TASKS_WAITERS_H
#define FGTRACE_TASKS_WAITERS_H

#include "tasks/questions.h"
#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

/* The kinds of waiters, behind the two that are none: `fgtrace._recording.core_recording.WAITER_KINDS`. */
enum { KIND_TASK = FIRST_WAITER, KIND_THREAD, KIND_IO, KIND_FUTURE };

typedef struct {
    PyTypeObject *type;
    uint32_t kind, track, detail;
} WaiterKey;

uint32_t waiter_intern(Tasks *tasks, uint32_t kind, PyTypeObject *type, uint32_t track);
bool waiter_read(Tasks *tasks, Task *record, PyObject *waiter, Gen *leaf, uint32_t *detail, QuestionKind *question);
void task_note_parent(Tasks *tasks, Task *record, PyObject *task, int64_t now);
void waiters_free(Tasks *tasks);

#pragma GCC visibility pop
#endif
