/* What of a task is put to Python as a question. */
#include "tasks/questions.h"

/* Ask Python about a task; `row` is the one just noted, if the answer amends it. */
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

void
questions_free(Tasks *tasks)
{
    for (size_t item = 0; item < tasks->questions.used; item++) {
        Py_DECREF(((Question *)tasks->questions.items)[item].reference);
        Py_XDECREF(((Question *)tasks->questions.items)[item].waiter);
    }
    array_free(&tasks->questions);
}
