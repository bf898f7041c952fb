/* The table of tasks: records of 40 bytes in segments.
 *
 * A record is found by its task's address, by its key, and where loops are compiled by its task's context. An index
 * has 256 parts, so that no part takes long to grow.
 */
#include "tasks/task_table.h"

/* Return a record's hash within its part of the index. */
static uint32_t
hash_task(void *tasks, uint32_t item)
{
    return task_at(tasks, item)->hash << 8; /* the first eight bits have chosen the part */
}

/* Return the hash of a task's address. */
static uint32_t
hash_of_task(PyObject *task)
{
    return hash_of((uint64_t)(uintptr_t)task);
}

/* Return the part of the index in which a hash is. */
static Index *
part_of(Tasks *tasks, uint32_t hash)
{
    return &tasks->index[hash >> 24];
}

/* Return the record of a task (it stays in the table), or NULL. The record of an earlier task may have the same
 * address. */
Task *
task_find(Tasks *tasks, PyObject *task)
{
    uint32_t hash = hash_of_task(task), found;
    const Index *index = part_of(tasks, hash);
    if (index->size == 0) {
        return NULL;
    }
    uint32_t slot = index_first(index, hash << 8);
    while ((found = index->slots[slot]) != 0) {
        Task *record = task_at(tasks, found - 1);
        if (record->hash == hash && task_of(record) == task) {
            return record;
        }
        slot = index_next(index, slot);
    }
    return NULL;
}

/* Return the record that has a key, and its number, or NULL; its task may be gone. */
Task *
task_by_key(Tasks *tasks, uint32_t hash, const PyObject *key, size_t *item)
{
    const Index *index = part_of(tasks, hash);
    uint32_t slot = index->size > 0 ? index_first(index, hash << 8) : 0, found;
    while (index->size > 0 && (found = index->slots[slot]) != 0) {
        Task *record = task_at(tasks, found - 1);
        if (record->key == key && record->hash == hash) {
            *item = found - 1;
            return record;
        }
        slot = index_next(index, slot);
    }
    return NULL;
}

/* --- by context, where loops are compiled --- */

/* Return where the hash of a record's context is kept. */
static uint32_t *
context_at(const Tasks *tasks, uint32_t item)
{
    return &tasks->contexts[item / TASKS_A_SEGMENT][item % TASKS_A_SEGMENT];
}

/* Return the hash of a record's context within its part of the index. */
static uint32_t
hash_context(void *tasks, uint32_t item)
{
    return *context_at(tasks, item) << 8;
}

/* Return whether a record's context was noted. */
static bool
has_context(const Tasks *tasks, size_t item)
{
    return item < tasks->contexts_used * TASKS_A_SEGMENT && *context_at(tasks, (uint32_t)item) != 0;
}

/* Return the record of the task that is stepped in a context, or NULL. */
Task *
task_in_context(Tasks *tasks, PyObject *context)
{
    uint32_t hash = hash_of((uint64_t)(uintptr_t)context) | 1, found;
    const Index *index = &tasks->context_index[hash >> 24];
    uint32_t slot = index->size > 0 ? index_first(index, hash << 8) : 0;
    while (index->size > 0 && (found = index->slots[slot]) != 0) {
        Task *record = task_at(tasks, found - 1);
        PyObject *task = *context_at(tasks, found - 1) == hash ? task_of(record) : NULL;
        if (task != NULL && Py_REFCNT(task) > 0 && field_at(task, tasks->at.context) == context) {
            /* several tasks may share a context: this one must be able to go on */
            PyObject *waiter = field_at(task, tasks->at.waiter);
            if (waiter == NULL || future_state(tasks, waiter) != 0) {
                return record;
            }
        }
        slot = index_next(index, slot);
    }
    return NULL;
}

/* Have a record found by its task's context. */
void
task_note_context(Tasks *tasks, uint32_t item, PyObject *context)
{
    while (tasks->contexts_used < tasks->segments_used) {
        uint32_t **contexts = grown(tasks->contexts, &tasks->contexts_room, tasks->contexts_used, sizeof *contexts);
        uint32_t *segment = contexts != NULL ? calloc(TASKS_A_SEGMENT, sizeof *segment) : NULL;
        tasks->contexts = contexts != NULL ? contexts : tasks->contexts;
        if (segment == NULL) {
            return;
        }
        tasks->contexts[tasks->contexts_used++] = segment;
    }
    uint32_t hash = hash_of((uint64_t)(uintptr_t)context) | 1;
    if (!has_context(tasks, item)) {
        *context_at(tasks, item) = hash;
        if (!index_put(&tasks->context_index[hash >> 24], item, hash_context, tasks)) {
            *context_at(tasks, item) = 0;
        }
    }
}

/* Forget the context of a record that is dropped, and move that of the last record, which takes its place. */
static void
drop_context(Tasks *tasks, size_t item, size_t last)
{
    if (has_context(tasks, item)) {
        uint32_t hash = *context_at(tasks, (uint32_t)item);
        index_remove(&tasks->context_index[hash >> 24], (uint32_t)item, hash_context, tasks);
        *context_at(tasks, (uint32_t)item) = 0;
    }
    if (item != last && has_context(tasks, last)) {
        uint32_t hash = *context_at(tasks, (uint32_t)last);
        index_replace(&tasks->context_index[hash >> 24], (uint32_t)last, (uint32_t)item, hash_context, tasks);
        *context_at(tasks, (uint32_t)item) = hash;
        *context_at(tasks, (uint32_t)last) = 0;
    }
}

/* --- what records refer to --- */

/* Return a weak reference to a record's task (strong), which is made if there is none; NULL where the task is about
 * to go. */
PyObject *
task_reference(const Task *record)
{
    if (record->flags & TASK_HAS_REFERENCE) {
        return Py_NewRef(record->key);
    }
    bool is_alive = record->key != NULL && Py_REFCNT(record->key) > 0;
    PyObject *reference = is_alive ? PyWeakref_NewRef(record->key, NULL) : NULL;
    PyErr_Clear();
    return reference;
}

/* Give back the reference that a record's key is. */
static void
forget_key(Task *record)
{
    if (record->flags & TASK_HAS_REFERENCE) {
        Py_DECREF(record->key);
    }
}

/* --- marks of the tasks that ran --- */

/* Mark a task as one that has run, unless it is marked. */
void
task_mark(Tasks *tasks, Task *record)
{
    if (record->flags & TASK_IS_MARKED) {
        return;
    }
    Marked *marked = array_push(&tasks->marked, sizeof *marked);
    if (marked != NULL) {
        bool is_strong = record->flags & TASK_HAS_REFERENCE;
        *marked = (Marked){is_strong ? Py_NewRef(record->key) : record->key, record->hash, is_strong};
        record->flags |= TASK_IS_MARKED;
    }
}

/* Give back the reference that a mark holds. */
void
task_unmark(const Marked *marked)
{
    if (marked->is_strong) {
        Py_DECREF(marked->key);
    }
}

/* --- records come and go --- */

/* The memory of a task is free for the next one: the next observation of its record ends the track. */
void
task_freed(Tasks *tasks, PyObject *task)
{
    Task *record = task_find(tasks, task);
    if (record != NULL && !(record->flags & TASK_HAS_REFERENCE)) {
        record->key = NULL;
        if (tasks->is_marking) {
            record->flags &= (uint16_t)~TASK_IS_MARKED; /* the mark that it may have is found by the address */
            task_mark(tasks, record);
        }
    }
}

/* Forget what a task waits for. */
void
task_forget_waiter(Task *record)
{
    if (record->flags & TASK_HAS_WEAK) {
        Py_XDECREF(record->waiter);
    }
    record->waiter = NULL;
    record->flags &= (uint16_t)~(TASK_HAS_WEAK | TASK_WAITS_PLAINLY);
}

/* Drop a record; the last one takes its place. */
void
task_drop(Tasks *tasks, size_t item)
{
    Task *record = task_at(tasks, item);
    tasks->foreign -= (record->flags & TASK_FOREIGN) != 0;
    index_remove(part_of(tasks, record->hash), (uint32_t)item, hash_task, tasks);
    forget_key(record);
    task_forget_waiter(record);
    size_t last = tasks->used - 1;
    drop_context(tasks, item, last);
    if (item != last) {
        const Task *moved = task_at(tasks, last);
        index_replace(part_of(tasks, moved->hash), (uint32_t)last, (uint32_t)item, hash_task, tasks);
        *record = *moved;
    }
    tasks->used = last;
}

/* Drop the record of a task that has ended. */
void
task_forget(Tasks *tasks, Task *record)
{
    size_t item;
    if (task_by_key(tasks, record->hash, record->key, &item) != NULL) {
        task_drop(tasks, item);
    }
}

/* Have room for one more record; return false without memory. */
static bool
reserve(Tasks *tasks)
{
    if (tasks->used < tasks->segments_used * TASKS_A_SEGMENT) {
        return true;
    }
    Task **segments = grown(tasks->segments, &tasks->segments_room, tasks->segments_used, sizeof *segments);
    Task *segment = segments != NULL ? malloc(TASKS_A_SEGMENT * sizeof *segment) : NULL;
    tasks->segments = segments != NULL ? segments : tasks->segments;
    if (segment == NULL) {
        tasks->tables->failed = true;
        return false;
    }
    tasks->segments[tasks->segments_used++] = segment;
    return true;
}

/* Return a new record of a task; NULL where it cannot be made. A record that goes by a weak reference takes the one
 * that is given, or makes one. */
Task *
task_new(Tasks *tasks, PyObject *task, PyObject *reference)
{
    if (!reserve(tasks)) {
        return NULL;
    }
    Task made = {.key = task, .hash = hash_of_task(task), .track = NONE, .detail = NONE, .stack = GONE};
    if (!Py_IS_TYPE(task, tasks->told_type)) {
        made.key = reference != NULL ? Py_NewRef(reference) : PyWeakref_NewRef(task, NULL);
        made.flags = TASK_HAS_REFERENCE;
    }
    if (made.key == NULL) {
        PyErr_Clear();
        return NULL;
    }
    uint32_t item = (uint32_t)tasks->used;
    Task *record = task_at(tasks, item);
    *record = made;
    if (!index_put(part_of(tasks, record->hash), item, hash_task, tasks)) {
        forget_key(record);
        tasks->tables->failed = true;
        return NULL;
    }
    tasks->used++;
    return record;
}

/* Drop all records. */
void
tasks_clear(Tasks *tasks)
{
    for (size_t item = 0; item < tasks->used; item++) {
        forget_key(task_at(tasks, item));
        task_forget_waiter(task_at(tasks, item));
    }
    for (size_t segment = 0; segment < tasks->segments_used; segment++) {
        free(tasks->segments[segment]);
    }
    for (size_t part = 0; part < PARTS; part++) {
        free(tasks->index[part].slots);
        free(tasks->context_index[part].slots);
    }
    for (size_t segment = 0; segment < tasks->contexts_used; segment++) {
        free(tasks->contexts[segment]);
    }
    free(tasks->contexts);
    free(tasks->segments);
    for (size_t place = 0; place < tasks->marked.used; place++) {
        task_unmark(&((Marked *)tasks->marked.items)[place]);
    }
    array_free(&tasks->marked);
    memset(tasks->index, 0, sizeof tasks->index);
    memset(tasks->context_index, 0, sizeof tasks->context_index);
    tasks->contexts = NULL;
    tasks->segments = NULL;
    tasks->used = tasks->segments_used = tasks->segments_room = tasks->contexts_used = tasks->contexts_room = 0;
}
