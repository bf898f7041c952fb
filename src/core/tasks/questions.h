/* Puts to Python as a question what only Python can judge. A new kind is added here, to python/constants.c, and to
 * `fgtrace._sampling.core_answers`, which answers. */
#ifndef FGTRACE_TASKS_QUESTIONS_H
#define FGTRACE_TASKS_QUESTIONS_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

#define STEP_ROW (1ULL << 62) /* in a question's `row`: the number is that of a step */

typedef enum { QUESTION_WAIT, QUESTION_CHAIN, QUESTION_OWNER, QUESTION_LABELS, NO_QUESTION } QuestionKind;

typedef struct {
    PyObject *reference; /* strong: a weak reference to the task */
    PyObject *waiter;    /* strong: a weak reference to its waiter, or NULL */
    uint64_t row; /* the number of the row that the answer amends, or of the step, with STEP_ROW; UINT64_MAX: none */
    int64_t time; /* of that row or step */
    uint32_t track;
    QuestionKind kind;
} Question;

Question *question_put(Tasks *tasks, Task *record, QuestionKind kind, const Row *row);
void questions_free(Tasks *tasks);

#pragma GCC visibility pop
#endif
