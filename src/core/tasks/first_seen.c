/* Gives a task that is seen for the first time its record, its track, its names and its loop. */
#include "tasks/first_seen.h"
#include "tasks/questions.h"

/* Return the part of a name's address that a record keeps. */
static uint32_t
name_part(PyObject *name)
{
    return (uint32_t)((uintptr_t)name >> 4);
}

/* Return the number in a task's default name, which from 3.12 on is kept as a number until the name is read; 0 where
 * the name is another one. */
static int64_t
number_of_name(PyObject *name)
{
    int64_t number = name != NULL && PyLong_CheckExact(name) ? PyLong_AsLongLong(name) : 0;
    PyErr_Clear();
    return number;
}

/* Return a task's name (strong); NULL without an exception. */
static PyObject *
name_of(Tasks *tasks, PyObject *task)
{
    PyObject *name = field_at(task, tasks->at.name);
    if (name != NULL && PyLong_CheckExact(name)) {
        name = PyUnicode_FromFormat("Task-%lld", PyLong_AsLongLong(name));
        PyErr_Clear();
        return name;
    }
    return name != NULL && PyUnicode_CheckExact(name) ? Py_NewRef(name) : NULL;
}

/* Note a task's name where it is another than before. */
void
task_rename(Tasks *tasks, Task *record, PyObject *task, bool is_first)
{
    PyObject *there = field_at(task, tasks->at.name);
    if (name_part(there) != record->name) {
        PyObject *name = name_of(tasks, task);
        if (name != NULL) {
            tables_note(tasks->tables, NOTE_NAME, record->track, 0, is_first, name);
        }
        record->name = name_part(there);
        Py_XDECREF(name); /* the note has a reference of its own */
    }
}

/* Return whether a task's waiter is where calibration found it. */
static bool
waiter_is_right(Tasks *tasks, PyObject *task)
{
    PyObject *waiter = tasks->get_waiter(task, NULL);
    bool is_right = (waiter == Py_None ? NULL : waiter) == field_at(task, tasks->at.waiter);
    Py_XDECREF(waiter);
    return is_right;
}

/* Give a task its track, if its loop runs and the task is not about to go. */
void
task_begin_track(Tasks *tasks, Task *record, PyObject *task, int64_t now)
{
    if (future_state(tasks, task) != 0 || PyObject_GC_IsFinalized(task)) {
        record->flags |= TASK_DONE;
        return;
    }
    if (!waiter_is_right(tasks, task)) { /* before other fields are believed */
        tasks->broken = "a task's waiter is not where it was when this core was calibrated";
        return;
    }
    PyObject *coro = field_at(task, tasks->at.coro), *loop = field_at(task, tasks->at.loop);
    if (coro == NULL || loop == NULL || PyObject_GC_IsFinalized(coro)) {
        record->flags |= TASK_DONE;
        return;
    }
    int index = loop_index(&tasks->loops, loop);
    if (index < 0) {
        record->flags |= TASK_WAITS_FOR_LOOP;
        return;
    }
    record->flags &= (uint16_t)~TASK_WAITS_FOR_LOOP;
    record->loop = (uint16_t)index;
    size_t item;
    if (tasks->loops.items[index].is_compiled && tasks->at.context > 0 &&
        task_by_key(tasks, record->hash, record->key, &item) != NULL) {
        task_note_context(tasks, (uint32_t)item, field_at(task, tasks->at.context));
    }
    record->track = tasks->tables->tracks++;
    int64_t number = number_of_name(field_at(task, tasks->at.name));
    PyObject *name = number > 0 ? NULL : name_of(tasks, task);
    Note *note = tables_note(tasks->tables, NOTE_TASK, record->track, now, number << 16 | index, name);
    if (note != NULL && gen_check(coro)) {
        note->root = Py_XNewRef(((Gen *)coro)->gi_qualname);
    }
    record->name = name_part(field_at(task, tasks->at.name));
    Py_XDECREF(name); /* the note has a reference of its own */
    if (tasks->wants_labels) {
        question_put(tasks, record, QUESTION_LABELS, NULL);
    }
}

/* Return the record of a task that was never seen before, with its track; NULL where it cannot be made. `reference`
 * is a weak reference to the task, or NULL where the caller has none. */
Task *
task_first_seen(Tasks *tasks, PyObject *task, PyObject *reference, int64_t now)
{
    Task *record = task_new(tasks, task, reference);
    if (record == NULL) {
        return NULL;
    }
    if (PyType_IsSubtype(Py_TYPE(task), tasks->task_type)) {
        task_begin_track(tasks, record, task, now);
    }
    else { /* a task that is written in Python has its fields as attributes, which the Python twin reads */
        record->flags |= TASK_FOREIGN | TASK_DONE;
        tasks->foreign++;
    }
    return record;
}
