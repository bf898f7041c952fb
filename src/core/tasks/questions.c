/* Puts to Python as a question what only Python can judge. */
#include "tasks/questions.h"

/* Put a question about a task; return it (it stays in the list), or NULL. `row` is the row just appended, where the
 * answer amends it, or NULL. */
Question *
question_put(Tasks *tasks, Task *record, QuestionKind kind, const Row *row)
{
    PyObject *reference = task_reference(record);
    Question *question = reference != NULL ? array_push(&tasks->questions, sizeof *question) : NULL;
    if (question != NULL) {
        PyObject *waiter = record->flags & TASK_HAS_WEAK ? Py_XNewRef(record->waiter) : NULL;
        PyObject *task = waiter == NULL && record->waiter != NULL ? task_of(record) : NULL;
        PyObject *there = task != NULL ? field_at(task, tasks->at.waiter) : NULL;
        if (there != NULL && (waiter = PyWeakref_NewRef(there, NULL)) == NULL) {
            PyErr_Clear();
        }
        *question = (Question){reference, waiter,
                     row != NULL ? tasks->tables->rows_used - 1 : UINT64_MAX, row != NULL ? row->time : 0,
                     record->track, kind};
    }
    else {
        Py_XDECREF(reference);
    }
    return question;
}

/* Free the questions that nobody has drained. */
void
questions_free(Tasks *tasks)
{
    for (size_t item = 0; item < tasks->questions.used; item++) {
        Py_DECREF(((Question *)tasks->questions.items)[item].reference);
        Py_XDECREF(((Question *)tasks->questions.items)[item].waiter);
    }
    array_free(&tasks->questions);
}
