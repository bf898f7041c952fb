/* Looks at a new waiter: what kind of future it is, and whose. The twin of `fgtrace._collect._waits`, for
 * the common cases; what needs more is put to Python as a question.
 */
#include "core.h"

/* In the order of `fgtrace._core_sampler.KINDS`. */
enum { KIND_TASK = 2, KIND_THREAD, KIND_IO, KIND_FUTURE };

static uint32_t
hash_key(void *keys, uint32_t item)
{
    const WaitKey *key = &((WaitKey *)keys)[item];
    return hash_of((uint64_t)(uintptr_t)key->type ^ (uint64_t)key->track << 8 ^ key->kind);
}

/* The number of a wait, as `Recording.wait` gives it out. */
uint32_t
tasks_wait(Core *core, uint32_t kind, PyTypeObject *type, uint32_t track)
{
    Tasks *tasks = &core->tasks;
    WaitKey *key = array_push(&tasks->waits, sizeof *key); /* taken back if it is known */
    if (key == NULL) {
        core->tables.failed = true;
        return 1;
    }
    *key = (WaitKey){type, kind, track, 0};
    uint32_t used = (uint32_t)tasks->waits.used - 1, found;
    const WaitKey *keys = tasks->waits.items;
    uint32_t slot = index_first(&tasks->wait_index, hash_key(tasks->waits.items, used));
    while (tasks->wait_index.size > 0 && (found = tasks->wait_index.slots[slot]) != 0) {
        const WaitKey *known = &keys[found - 1];
        if (known->kind == kind && known->type == type && known->track == track) {
            tasks->waits.used--;
            return known->detail;
        }
        slot = index_next(&tasks->wait_index, slot);
    }
    if (!index_put(&tasks->wait_index, used, hash_key, tasks->waits.items)) {
        tasks->waits.used--;
        core->tables.failed = true;
        return 1;
    }
    key->detail = core->tables.waits++;
    Py_INCREF(type);
    PyObject *name = class_name(type);
    tables_note(&core->tables, NOTE_WAIT, key->detail, track == NONE ? -1 : (int64_t)track, kind, name);
    Py_XDECREF(name);
    return key->detail;
}

/* The done-callbacks of a future, one after another (borrowed); NULL at the end. */
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

static uint32_t
flags_of(Core *core, PyObject *function)
{
    return PyFunction_Check(function)
               ? tables_marked(&core->tables, (PyCodeObject *)PyFunction_GET_CODE(function))
               : 0;
}

static bool
is_uvloop_socket(PyTypeObject *type)
{
    const char *dot = strrchr(type->tp_name, '.');
    return strncmp(dot != NULL ? dot + 1 : type->tp_name, "_SyncSocket", 11) == 0;
}

void
waits_read(Core *core, Task *record, PyObject *waiter, Gen *leaf, int64_t now, uint32_t *detail, AskKind *ask)
{
    Tasks *tasks = &core->tasks;
    PyTypeObject *type = Py_TYPE(waiter);
    if (PyType_IsSubtype(type, tasks->task_type)) {
        const Task *other = tasks_find(tasks, waiter);
        if (other == NULL) {
            other = tasks_add(core, waiter, NULL, now);
        }
        uint32_t track = other != NULL ? other->track : NONE;
        *detail = tasks_wait(core, KIND_TASK, type, track);
        if (track != NONE) {
            tables_note(&core->tables, NOTE_PARENT, track, 0, record->track, NULL);
        }
        return;
    }
    *detail = tasks_wait(core, KIND_FUTURE, type, NONE);
    PyCodeObject *code = leaf != NULL && PyCoro_CheckExact(leaf) ? frame_code(gen_frame(leaf)) : NULL;
    uint32_t flags = code != NULL ? tables_marked(&core->tables, code) : 0;
    if (flags & CODE_PLAIN) {
        return;
    }
    if (is_uvloop_socket(type)) {
        *detail = tasks_wait(core, KIND_IO, type, NONE);
        return;
    }
    if (type != tasks->future_type || (flags & CODE_LOOKER)) {
        *ask = *ask == ASK_KINDS ? ASK_WAIT : *ask;
        return;
    }
    PyObject *callback;
    for (Py_ssize_t place = 0; (callback = callback_at(tasks, waiter, place)) != NULL; place++) {
        flags = flags_of(core, callback);
        if (flags & CODE_CHAIN) {
            *detail = tasks_wait(core, KIND_THREAD, type, NONE);
            return;
        }
        if (flags & CODE_SHIELD) {
            *ask = *ask == ASK_KINDS ? ASK_WAIT : *ask;
            return;
        }
    }
}

static bool
is_group(PyTypeObject *type)
{
    return strcmp(type->tp_name, "TaskGroup") == 0;
}

/* Whose child a task is, where a task group waits for its end: asyncio's by a method of the group; for
 * anyio's, a closure over it, Python is asked. */
void
waits_owner(Core *core, Task *record, PyObject *task)
{
    PyObject *callback;
    for (Py_ssize_t place = 0; (callback = callback_at(&core->tasks, task, place)) != NULL; place++) {
        if (PyMethod_Check(callback) && is_group(Py_TYPE(PyMethod_GET_SELF(callback)))) {
            PyObject *owner = attribute(PyMethod_GET_SELF(callback), "_parent_task");
            const Task *parent = owner != NULL ? tasks_find(&core->tasks, owner) : NULL;
            if (parent != NULL && parent->track != NONE) {
                tables_note(&core->tables, NOTE_PARENT, record->track, 0, parent->track, NULL);
            }
            Py_XDECREF(owner);
            return;
        }
        bool is_closure = PyFunction_Check(callback) && PyFunction_GET_CLOSURE(callback) != NULL;
        if (is_closure && !flags_of(core, callback)) {
            put_question(core, record, ASK_OWNER, NULL);
            return;
        }
    }
}
