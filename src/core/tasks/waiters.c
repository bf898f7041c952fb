/* Reads what kind of future a task waits for, and whose it is.
 *
 * The twin is `fgtrace._sampling.collect.waiters`. Only the common cases are read here; the others are put to Python
 * as questions.
 */
#include "tasks/waiters.h"
#include "tasks/first_seen.h"
#include "cpython/inspect.h"

/* Return the hash of a waiter's key. */
static uint32_t
hash_key(void *keys, uint32_t item)
{
    const WaiterKey *key = &((WaiterKey *)keys)[item];
    return hash_of((uint64_t)(uintptr_t)key->type ^ (uint64_t)key->track << 8 ^ key->kind);
}

/* Return the number of a waiter, as `Recording.intern_waiter` gives it out, and note the waiter if it is new. */
uint32_t
waiter_intern(Tasks *tasks, uint32_t kind, PyTypeObject *type, uint32_t track)
{
    WaiterKey *key = array_push(&tasks->waiters, sizeof *key); /* this is taken back where the key is known */
    if (key == NULL) {
        tasks->tables->failed = true;
        return 1;
    }
    *key = (WaiterKey){type, kind, track, 0};
    uint32_t used = (uint32_t)tasks->waiters.used - 1, found;
    const WaiterKey *keys = tasks->waiters.items;
    uint32_t slot = index_first(&tasks->waiter_index, hash_key(tasks->waiters.items, used));
    while (tasks->waiter_index.size > 0 && (found = tasks->waiter_index.slots[slot]) != 0) {
        const WaiterKey *known = &keys[found - 1];
        if (known->kind == kind && known->type == type && known->track == track) {
            tasks->waiters.used--;
            return known->detail;
        }
        slot = index_next(&tasks->waiter_index, slot);
    }
    if (!index_put(&tasks->waiter_index, used, hash_key, tasks->waiters.items)) {
        tasks->waiters.used--;
        tasks->tables->failed = true;
        return 1;
    }
    key->detail = tasks->tables->waiters++;
    Py_INCREF(type);
    PyObject *name = inspect_class_name(type);
    tables_note(tasks->tables, NOTE_WAITER, key->detail, track == NONE ? -1 : (int64_t)track, kind, name);
    Py_XDECREF(name);
    return key->detail;
}

/* Return one of the done-callbacks of a future (borrowed), by its place; NULL behind the last. */
static PyObject *
callback_at(const Tasks *tasks, PyObject *future, Py_ssize_t place)
{
    if (place == 0) {
        return *(PyObject **)((char *)future + tasks->at.callback);
    }
    PyObject *more = *(PyObject **)((char *)future + tasks->at.callbacks);
    if (more == NULL || !PyList_CheckExact(more) || place > PyList_GET_SIZE(more)) {
        return NULL;
    }
    PyObject *entry = PyList_GET_ITEM(more, place - 1);
    return PyTuple_CheckExact(entry) && PyTuple_GET_SIZE(entry) > 0 ? PyTuple_GET_ITEM(entry, 0) : NULL;
}

/* Return what Python told of a function. */
static uint32_t
flags_of(Tasks *tasks, PyObject *function)
{
    return PyFunction_Check(function)
               ? tables_marked(tasks->tables, (PyCodeObject *)PyFunction_GET_CODE(function))
               : 0;
}

/* Return whether a waiter is what uvloop's methods for sockets wait for. */
static bool
is_uvloop_socket(PyTypeObject *type)
{
    const char *dot = strrchr(type->tp_name, '.');
    return strncmp(dot != NULL ? dot + 1 : type->tp_name, "_SyncSocket", 11) == 0;
}

/* Read what kind of future a waiter is, and whose. Return false, with nothing noted, where it is a task that is not
 * known yet: the caller makes its record, and calls again. */
bool
waiter_read(Tasks *tasks, Task *record, PyObject *waiter, Gen *leaf, uint32_t *detail, QuestionKind *question)
{
    PyTypeObject *type = Py_TYPE(waiter);
    if (PyType_IsSubtype(type, tasks->task_type)) {
        const Task *other = task_find(tasks, waiter);
        if (other == NULL) {
            return false;
        }
        *detail = waiter_intern(tasks, KIND_TASK, type, other->track);
        if (other->track != NONE) {
            tables_note(tasks->tables, NOTE_PARENT, other->track, 0, record->track, NULL);
        }
        return true;
    }
    *detail = waiter_intern(tasks, KIND_FUTURE, type, NONE);
    PyCodeObject *code = leaf != NULL && PyCoro_CheckExact(leaf) ? frame_code(gen_frame(leaf)) : NULL;
    uint32_t flags = code != NULL ? tables_marked(tasks->tables, code) : 0;
    if (flags & CODE_PLAIN) {
        return true;
    }
    if (is_uvloop_socket(type)) {
        *detail = waiter_intern(tasks, KIND_IO, type, NONE);
        return true;
    }
    if (type != tasks->future_type || (flags & CODE_HOLDS_FUTURES)) {
        *question = *question == NO_QUESTION ? QUESTION_WAIT : *question;
        return true;
    }
    PyObject *callback;
    for (Py_ssize_t place = 0; (callback = callback_at(tasks, waiter, place)) != NULL; place++) {
        flags = flags_of(tasks, callback);
        if (flags & CODE_CHAIN) {
            *detail = waiter_intern(tasks, KIND_THREAD, type, NONE);
            return true;
        }
        if (flags & CODE_SHIELD) {
            *question = *question == NO_QUESTION ? QUESTION_WAIT : *question;
            return true;
        }
    }
    return true;
}

/* Return whether a type is asyncio's TaskGroup. */
static bool
is_group(PyTypeObject *type)
{
    return strcmp(type->tp_name, "TaskGroup") == 0;
}

/* Note whose child a task is, where a task group waits for its end: asyncio's group has a method of its own as a
 * callback; anyio's has a closure, which is put to Python as a question. */
void
task_note_parent(Tasks *tasks, Task *record, PyObject *task, int64_t now)
{
    PyObject *callback;
    for (Py_ssize_t place = 0; (callback = callback_at(tasks, task, place)) != NULL; place++) {
        if (PyMethod_Check(callback) && is_group(Py_TYPE(PyMethod_GET_SELF(callback)))) {
            PyObject *owner = inspect_attribute(PyMethod_GET_SELF(callback), "_parent_task");
            const Task *parent = owner != NULL ? task_find(tasks, owner) : NULL;
            if (owner != NULL && parent == NULL && PyObject_TypeCheck(owner, tasks->task_type)) {
                parent = task_first_seen(tasks, owner, NULL, now); /* the search has not come to it yet */
            }
            if (parent != NULL && parent->track != NONE) {
                tables_note(tasks->tables, NOTE_PARENT, record->track, 0, parent->track, NULL);
            }
            Py_XDECREF(owner);
            return;
        }
        bool is_closure = PyFunction_Check(callback) && PyFunction_GET_CLOSURE(callback) != NULL;
        if (is_closure && !flags_of(tasks, callback)) {
            question_put(tasks, record, QUESTION_OWNER, NULL);
            return;
        }
    }
}

/* Free the waiters, with the references to their types. */
void
waiters_free(Tasks *tasks)
{
    for (size_t item = 0; item < tasks->waiters.used; item++) {
        Py_XDECREF(((WaiterKey *)tasks->waiters.items)[item].type);
    }
    array_free(&tasks->waiters);
    free(tasks->waiter_index.slots);
}
