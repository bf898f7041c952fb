/* Every asyncio task: its await chain, and what it waits for. The twin of `fgtrace._collect.asyncio_tasks`,
 * which tells the reasons.
 *
 * A task is one record of 40 bytes. One whose waiter is the same future as at the last look, and
 * pending, has not run: that comparison is all that an idle task costs. A look has a budget; what is not
 * looked at within it comes first in the next one.
 */
#include "core.h"

#define LOOK_AHEAD 8   /* records: the memory of that one is asked for while this one is looked at */
#define THOROUGHLY 16 /* each record is looked at in full at one round of so many */
#define A_BATCH 64    /* records between two readings of the clock */

/* --- first sight --- */

int32_t
future_state(const Tasks *tasks, PyObject *future) /* 0 pending, -1 not to be read */
{
    PyTypeObject *type = Py_TYPE(future);
    if (type != tasks->future_type && type != tasks->task_type &&
        !PyType_IsSubtype(type, tasks->future_type) && !PyType_IsSubtype(type, tasks->task_type)) {
        return -1;
    }
    return *(int32_t *)((char *)future + tasks->at.state);
}

/* An attribute of an object's own, or of its type in C: whatever would run Python code is left alone. */
PyObject * /* strong, or NULL without an exception */
attribute(PyObject *object, const char *name)
{
    PyObject *key = PyUnicode_InternFromString(name), *found = NULL;
    if (key != NULL) {
        PyObject *of_type = _PyType_Lookup(Py_TYPE(object), key); /* borrowed */
        if (of_type == NULL || Py_IS_TYPE(of_type, &PyMemberDescr_Type) ||
            Py_TYPE(of_type)->tp_descr_get == NULL) {
            found = PyObject_GenericGetAttr(object, key);
        }
        Py_DECREF(key);
    }
    PyErr_Clear();
    return found;
}

/* The thread that runs a loop: -1 it does not run, 0 it runs, but where is unknown. */
long
thread_of(PyObject *loop)
{
    PyObject *ident = attribute(loop, "_thread_id");
    long found = -1;
    if (ident != NULL) {
        found = PyLong_CheckExact(ident) ? (long)PyLong_AsUnsignedLong(ident) : -1;
        PyErr_Clear();
        Py_DECREF(ident);
        return found;
    }
    PyObject *key = PyUnicode_InternFromString("is_running");
    PyObject *method = key != NULL ? _PyType_Lookup(Py_TYPE(loop), key) : NULL; /* borrowed */
    Py_XDECREF(key);
    if (method != NULL && !PyFunction_Check(method) && !PyType_IsSubtype(Py_TYPE(method), &PyProperty_Type)) {
        Py_INCREF(method); /* compiled, as uvloop's: no Python code runs */
        PyObject *answer = PyObject_CallOneArg(method, loop);
        found = answer == Py_True ? 0 : -1;
        Py_XDECREF(answer);
        Py_DECREF(method);
    }
    PyErr_Clear();
    return found;
}

void
place_loop(Core *core, size_t index, unsigned long ident)
{
    core->tasks.loops[index].ident = ident;
    PyObject *name = thread_name(core, ident);
    if (name != NULL) {
        tables_note(&core->tables, NOTE_PLACE, (uint32_t)index, 0, 0, name);
        Py_DECREF(name);
    }
}

static PyObject * /* strong, or NULL */
dict_of(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyType_GetDict(type);
#else
    return Py_XNewRef(type->tp_dict);
#endif
}

/* module.qualname of a class, without asking its metaclass. */
PyObject * /* strong, or NULL without an exception */
class_name(PyTypeObject *type)
{
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        PyObject *name = PyUnicode_FromString(type->tp_name);
        PyErr_Clear();
        return name;
    }
    PyObject *dict = dict_of(type), *qualname = ((PyHeapTypeObject *)type)->ht_qualname;
    PyObject *module = dict != NULL ? PyDict_GetItemString(dict, "__module__") : NULL; /* borrowed */
    PyObject *name = NULL;
    if (module != NULL && PyUnicode_Check(module) && qualname != NULL) {
        name = PyUnicode_FromFormat("%U.%U", module, qualname);
    }
    else if (qualname != NULL) {
        name = Py_NewRef(qualname);
    }
    Py_XDECREF(dict);
    PyErr_Clear();
    return name;
}

/* The index of a running loop, or -1 where it has not been seen to run. */
int
loop_index(Core *core, PyObject *loop)
{
    Tasks *tasks = &core->tasks;
    for (size_t index = 0; index < tasks->loops_used; index++) {
        if (tasks->loops[index].loop == loop && weak_referent(tasks->loops[index].reference) == loop) {
            return (int)index;
        }
    }
    long ident = thread_of(loop);
    if (ident < 0 || tasks->loops_used == UINT16_MAX) {
        return -1;
    }
    Loop *loops = grown(tasks->loops, &tasks->loops_room, tasks->loops_used, sizeof *loops);
    if (loops == NULL) {
        return -1;
    }
    tasks->loops = loops;
    PyObject *reference = PyWeakref_NewRef(loop, NULL), *name = class_name(Py_TYPE(loop));
    if (reference == NULL) {
        Py_XDECREF(name);
        PyErr_Clear();
        return -1;
    }
    size_t index = tasks->loops_used++;
    PyObject *ready = attribute(loop, "_ready");
    tasks->loops[index] =
        (Loop){.reference = reference, .loop = loop, .ready = -1, .is_compiled = ready == NULL};
    Py_XDECREF(ready);
    tables_note(&core->tables, NOTE_LOOP, (uint32_t)index, 0, 0, name);
    Py_XDECREF(name);
    if (ident > 0) {
        place_loop(core, index, (unsigned long)ident);
    }
    return (int)index;
}

static uint32_t
mark_of_name(PyObject *name)
{
    return (uint32_t)((uintptr_t)name >> 4);
}

/* From 3.12 on a name is a number until somebody asks for it. */
static int64_t
number_of_name(PyObject *name)
{
    int64_t number = name != NULL && PyLong_CheckExact(name) ? PyLong_AsLongLong(name) : 0;
    PyErr_Clear();
    return number;
}

static PyObject * /* strong, or NULL without an exception */
name_of(Tasks *tasks, PyObject *task)
{
    PyObject *name = tasks_field(task, tasks->at.name);
    if (name != NULL && PyLong_CheckExact(name)) {
        name = PyUnicode_FromFormat("Task-%lld", PyLong_AsLongLong(name));
        PyErr_Clear();
        return name;
    }
    return name != NULL && PyUnicode_CheckExact(name) ? Py_NewRef(name) : NULL;
}

void
tasks_rename(Core *core, Task *record, PyObject *task, bool is_first)
{
    PyObject *there = tasks_field(task, core->tasks.at.name);
    if (mark_of_name(there) != record->name) {
        PyObject *name = name_of(&core->tasks, task);
        if (name != NULL) {
            tables_note(&core->tables, NOTE_NAME, record->track, 0, is_first, name);
        }
        record->name = mark_of_name(there);
        Py_XDECREF(name); /* the note keeps it */
    }
}

/* Ask Python about a task; `row` is the one just noted, if the answer amends it. */
Ask *
put_question(Core *core, Task *record, AskKind kind, const Row *row)
{
    PyObject *reference = records_reference(record);
    Ask *ask = reference != NULL ? array_push(&core->tasks.asks, sizeof *ask) : NULL;
    if (ask != NULL) {
        PyObject *waiter = record->flags & TASK_HAS_WEAK ? Py_XNewRef(record->waiter) : NULL;
        PyObject *task = waiter == NULL && record->waiter != NULL ? task_of(record) : NULL;
        PyObject *there = task != NULL ? tasks_field(task, core->tasks.at.waiter) : NULL;
        if (there != NULL && (waiter = PyWeakref_NewRef(there, NULL)) == NULL) {
            PyErr_Clear();
        }
        *ask = (Ask){reference, waiter,
                     row != NULL ? core->tables.rows_used - 1 : UINT64_MAX, row != NULL ? row->time : 0,
                     record->track, kind};
    }
    else {
        Py_XDECREF(reference);
    }
    return ask;
}

/* Give a task its track, if its loop runs and the task is not about to go. */
void
tasks_promote(Core *core, Task *record, PyObject *task, int64_t now)
{
    Tasks *tasks = &core->tasks;
    PyObject *coro = tasks_field(task, tasks->at.coro), *loop = tasks_field(task, tasks->at.loop);
    if (future_state(tasks, task) != 0 || coro == NULL || loop == NULL || PyObject_GC_IsFinalized(task) ||
        PyObject_GC_IsFinalized(coro)) {
        record->flags |= TASK_DONE;
        return;
    }
    PyObject *waiter = tasks->get_waiter(task, NULL); /* a check: is the field where it was found? */
    bool is_right = (waiter == Py_None ? NULL : waiter) == tasks_field(task, tasks->at.waiter);
    Py_XDECREF(waiter);
    if (!is_right) {
        tasks->broken = "a task's waiter is not where it was when this core was calibrated";
        return;
    }
    int index = loop_index(core, loop);
    if (index < 0) {
        record->flags |= TASK_WAITS_FOR_LOOP;
        return;
    }
    record->flags &= (uint16_t)~TASK_WAITS_FOR_LOOP;
    record->loop = (uint16_t)index;
    size_t item;
    if (tasks->loops[index].is_compiled && tasks->at.context > 0 &&
        tasks_by_key(tasks, record->hash, record->key, &item) != NULL) {
        records_note_context(tasks, (uint32_t)item, tasks_field(task, tasks->at.context));
    }
    record->track = core->tables.tracks++;
    int64_t number = number_of_name(tasks_field(task, tasks->at.name));
    PyObject *name = number > 0 ? NULL : name_of(tasks, task);
    Note *note = tables_note(&core->tables, NOTE_TASK, record->track, now, number << 16 | index, name);
    if (note != NULL && gen_check(coro)) {
        note->root = Py_XNewRef(((Gen *)coro)->gi_qualname);
    }
    record->name = mark_of_name(tasks_field(task, tasks->at.name));
    Py_XDECREF(name); /* the note keeps it */
    if (tasks->wants_labels) {
        put_question(core, record, ASK_LABELS, NULL);
    }
}

/* Make a record of a task never seen before, and give it its track; `reference`: a weak one, if there is one. */
Task *
tasks_add(Core *core, PyObject *task, PyObject *reference, int64_t now)
{
    Task *record = records_new(core, task, reference);
    if (record == NULL) {
        return NULL;
    }
    if (PyType_IsSubtype(Py_TYPE(task), core->tasks.task_type)) {
        tasks_promote(core, record, task, now);
    }
    else { /* a task of Python: its fields are attributes, which the Python twin reads */
        record->flags |= TASK_FOREIGN | TASK_DONE;
        core->tasks.foreign++;
    }
    return record;
}

/* --- a look --- */

static void
gone(Core *core, Task *record, PyObject *task, int64_t now)
{
    record->flags |= TASK_DONE;
    records_forget_waiter(record);
    if (record->track != NONE) {
        if (task != NULL) {
            tasks_rename(core, record, task, false);
        }
        tables_note(&core->tables, NOTE_END, record->track, now, 0, NULL);
        tables_observe(&core->tables, now, record->track, GONE, 0);
    }
}

/* The frames of a running task: those on its thread, from its own coroutine to the leaf. */
static int32_t
running_stack(Core *core, Task *record, PyObject *coro)
{
    Path *path = &core->path;
    const OnStack *found = core->on_stack.items;
    Frame *frame = gen_check(coro) ? gen_frame((Gen *)coro) : NULL;
    for (size_t place = 0; frame != NULL && place < core->on_stack.used; place++) {
        if (found[place].frame == frame) {
            if (found[place].ident != core->tasks.loops[record->loop].ident) {
                place_loop(core, record->loop, found[place].ident);
            }
            return tables_stack_reversed(&core->tables, path->items + found[place].first,
                                         found[place].place - found[place].first + 1);
        }
    }
    /* Its thread is inside a greenlet, whose frames do not lead back to the coroutine. */
    size_t start = path->used;
    PyCodeObject *code = frame != NULL ? frame_code(frame) : NULL;
    if (code != NULL) {
        path_push(path, walk_element(&core->tables, frame, code));
    }
    for (size_t place = 0; place < core->threads.used; place++) {
        const Thread *thread = &core->threads.items[place];
        for (size_t at = thread->count; thread->ident == core->tasks.loops[record->loop].ident && at-- > 0;) {
            path_push(path, path->items[thread->first + at]);
        }
    }
    int32_t stack = tables_stack(&core->tables, path->items + start, path->used - start);
    path->used = start;
    return stack;
}

static bool
is_executing(PyObject *coro)
{
    return gen_check(coro) && ((Gen *)coro)->gi_frame_state == GEN_EXECUTING;
}

/* Remember what a task waits for. A future of the program's own may allow no weak reference: then its task is
 * looked at each tick. */
void
tasks_note_waiter(Tasks *tasks, Task *record, PyObject *waiter)
{
    if (waiter != NULL && (record->flags & TASK_HAS_WEAK) && weak_referent(record->waiter) == waiter &&
        !tasks->marks_tell) {
        return;
    }
    records_forget_waiter(record);
    if (waiter == NULL) {
        return;
    }
    bool is_plain = future_state(tasks, waiter) >= 0;
    if (tasks->marks_tell && is_plain) {
        record->waiter = waiter;
        record->flags |= TASK_WAITS_PLAINLY;
        return;
    }
    record->waiter = PyWeakref_NewRef(waiter, NULL);
    PyErr_Clear();
    if (record->waiter != NULL) {
        record->flags |= (uint16_t)(TASK_HAS_WEAK | (is_plain ? TASK_WAITS_PLAINLY : 0));
    }
}

/* What a suspended task awaits, and what its waiter is. */
int32_t
tasks_chain(Core *core, Task *record, PyObject *task, PyObject *waiter, int64_t now, uint32_t *detail, AskKind *ask)
{
    Gen *leaf;
    core->chain.used = 0;
    bool is_whole = walk_chain(&core->links, &core->chain, tasks_field(task, core->tasks.at.coro), &leaf);
    int32_t stack = walk_stack(&core->tables, &core->path, &core->chain, record->stack, &is_whole);
    if (!is_whole) {
        *ask = ASK_CHAIN;
    }
    *detail = 1; /* runnable */
    if (waiter != NULL && future_state(&core->tasks, waiter) <= 0) {
        waits_read(core, record, waiter, leaf, now, detail, ask);
    }
    return stack;
}

/* Whether steps tell what a task does: of it the ticks see only what it runs. */
static bool
is_told(const Core *core, const Task *record)
{
    return (record->flags & TASK_HAS_STEPPED) && core->tasks.loops[record->loop].is_exact;
}

static void
changed(Core *core, Task *record, PyObject *task, PyObject *waiter, int64_t now)
{
    Tasks *tasks = &core->tasks;
    PyObject *coro = tasks_field(task, tasks->at.coro);
    if (coro == NULL || (waiter == NULL && future_state(tasks, task) != 0)) {
        if (!is_told(core, record)) { /* else the end of its step will tell */
            gone(core, record, task, now);
        }
        return;
    }
    if (waiter == NULL && core->is_catching_up && is_executing(coro)) {
        return; /* the threads' frames are not at hand: the next tick has them */
    }
    tasks_rename(core, record, task, false);
    if (is_told(core, record) && !(waiter == NULL && is_executing(coro))) {
        return;
    }
    if (!(record->flags & TASK_HAS_OWNER)) {
        record->flags |= TASK_HAS_OWNER;
        waits_owner(core, record, task);
    }
    tasks_note_waiter(tasks, record, waiter);
    int32_t stack;
    uint32_t detail = 0; /* running */
    AskKind ask = ASK_KINDS;
    if (waiter == NULL && is_executing(coro)) {
        stack = running_stack(core, record, coro);
    }
    else {
        stack = tasks_chain(core, record, task, waiter, now, &detail, &ask);
    }
    if (stack != record->stack || detail != record->detail || ask != ASK_KINDS) {
        record->stack = stack;
        record->detail = detail;
        Row *row = tables_observe(&core->tables, now, record->track, stack, detail);
        if (ask != ASK_KINDS && row != NULL) {
            put_question(core, record, ask, row);
        }
    }
}

/* Whether it waits for a future of C, and not for its turn. */
bool
task_waits(const Task *record)
{
    return (record->flags & TASK_WAITS_PLAINLY) && record->detail != 1;
}

/* Whether a task waits as it did: a task makes no step before its waiter is done, not even a cancelled one.
 * Of the task itself nothing is read; whether it is there is known where frees.c tells. */
static inline bool
still_waits(const Core *core, const Task *record)
{
    if (!(record->flags & TASK_HAS_WEAK) || !task_waits(record) || record->key == NULL) {
        return false;
    }
    PyObject *waiter = weak_referent(record->waiter);
    return waiter != NULL && *(int32_t *)((char *)waiter + core->tasks.at.state) == 0;
}

/* Whether the task's waiter is the one that was noted. */
static bool
is_waiter(const Task *record, PyObject *waiter)
{
    if (waiter == NULL || record->waiter == NULL) {
        return false;
    }
    return record->flags & TASK_HAS_WEAK ? weak_referent(record->waiter) == waiter
                                         : record->waiter == waiter && !(record->flags & TASK_IS_MARKED);
}

/* Look at one record; false where it was the last sight of it. */
bool
tasks_look_at(Core *core, Task *record, bool ran, int64_t now)
{
    PyObject *task = task_of(record);
    if (task == NULL) {
        if (!(record->flags & TASK_DONE)) {
            gone(core, record, NULL, now);
        }
        return false;
    }
    if (record->flags & TASK_DONE) {
        return true;
    }
    PyObject *waiter = tasks_field(task, core->tasks.at.waiter);
    if (!ran && is_waiter(record, waiter) &&
        (record->detail == 1) == (future_state(&core->tasks, waiter) > 0)) {
        return true;
    }
    if (record->flags & TASK_WAITS_FOR_LOOP) {
        tasks_promote(core, record, task, now);
    }
    if (record->track != NONE && !(record->flags & TASK_DONE)) {
        changed(core, record, task, waiter, now);
    }
    return true;
}

/* What a loop is to run next; strong, or NULL: it is none of asyncio's own, whose length would be the program's
 * code to tell. */
PyObject *
ready_queue(PyObject *loop)
{
    PyObject *ready = attribute(loop, "_ready");
    if (ready != NULL && strcmp(Py_TYPE(ready)->tp_name, "collections.deque") != 0) {
        Py_CLEAR(ready);
    }
    return ready;
}

static void
ready_counts(Core *core, int64_t now)
{
    for (size_t index = 0; index < core->tasks.loops_used; index++) {
        Loop *loop = &core->tasks.loops[index];
        PyObject *alive = weak_referent(loop->reference);
        PyObject *ready = alive != NULL ? ready_queue(alive) : NULL;
        Py_ssize_t count = ready != NULL ? PyObject_Size(ready) : -1;
        Py_XDECREF(ready);
        PyErr_Clear();
        if (count >= 0 && count != loop->ready) {
            int64_t *counter = array_push(&core->tables.counters, 3 * sizeof *counter);
            if (counter != NULL) {
                counter[0] = now;
                counter[1] = (int64_t)index;
                counter[2] = loop->ready = count;
            }
        }
    }
}

/* Ask for the memory of records that will be looked at soon: the weak reference first, then the future. */
static void
look_ahead(const Tasks *tasks)
{
    size_t far = tasks->next + 2 * LOOK_AHEAD, near = tasks->next + LOOK_AHEAD;
    if (far < tasks->used && (tasks_at(tasks, far)->flags & TASK_HAS_WEAK)) {
        __builtin_prefetch(&((PyWeakReference *)tasks_at(tasks, far)->waiter)->wr_object);
    }
    if (near < tasks->used && (tasks_at(tasks, near)->flags & TASK_HAS_WEAK)) {
        PyObject *waiter = ((PyWeakReference *)tasks_at(tasks, near)->waiter)->wr_object;
        __builtin_prefetch((char *)waiter + tasks->at.state);
    }
}

/* One round over all records, or the part of it that the budget allows; the next look goes on there. */
static void
look_round(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    if (tasks->left_over == 0) {
        tasks->left_over = tasks->used;
    }
    for (size_t batch = 1; tasks->left_over > 0 && tasks->used > 0 && tasks->broken == NULL; batch++) {
        if (tasks->next >= tasks->used) {
            tasks->next = 0;
        }
        look_ahead(tasks);
        /* Now and then also whether a task is still there whose waiter outlives it. */
        bool is_thorough = (tasks->next + tasks->rounds) % THOROUGHLY == 0;
        Task *record = tasks_at(tasks, tasks->next);
        if ((!is_thorough && still_waits(core, record)) || tasks_look_at(core, record, false, now)) {
            tasks->next++;
        }
        else {
            tasks_drop(tasks, tasks->next);
        }
        tasks->left_over--;
        if (batch % A_BATCH == 0 && now_ns() > until) {
            break;
        }
    }
    if (tasks->left_over == 0 || tasks->used == 0) {
        tasks->left_over = 0;
        tasks->rounds++;
    }
}

/* Find new tasks, and look at them. */
static void
look_at_new(Core *core, int64_t now, int64_t until)
{
    Tasks *tasks = &core->tasks;
    size_t first = tasks->used;
    tasks_discover(core, now, until);
    for (size_t item = first; item < tasks->used && tasks->broken == NULL; item++) {
        Task *record = tasks_at(tasks, item);
        bool is_there = tasks_look_at(core, record, false, now); /* one that has ended is dropped at its next look */
        if (tasks->is_marking && (!is_there || !task_waits(record))) {
            steps_mark(tasks, record);
        }
    }
}

static bool
is_attached(Core *core)
{
    Tasks *tasks = &core->tasks;
    if (!tasks->is_attached) {
        /* asyncio may be imported while the trace runs: then Python finds out where its fields are */
        PyObject *modules = PyImport_GetModuleDict();
        tasks->wants_asyncio = tasks->is_wanted && PyDict_GetItemString(modules, "asyncio.tasks") != NULL;
    }
    return tasks->is_attached && tasks->broken == NULL;
}

void
tasks_look(Core *core, int64_t now)
{
    if (is_attached(core)) {
        int64_t began = now_ns();
        ready_counts(core, now);
        core->tasks.marks_tell =
            (core->tasks.is_marking || core->exact != NULL) && steps_all_mark(&core->tasks);
        look_at_new(core, now, began + core->tick_budget / 3);
        if (core->exact != NULL) {
            exact_look(core, now);
        }
        if (core->exact != NULL && core->tasks.marks_tell) {
            core->tasks.rounds++; /* steps tell the rest */
        }
        else if (steps_serve(&core->tasks)) {
            steps_look(core, now, began + core->tick_budget);
        }
        else {
            look_round(core, now, began + core->tick_budget);
        }
#if PY_VERSION_HEX < 0x030E0000
        if ((size_t)core->tasks.tasks->used != core->tasks.used) { /* as many came as went */
            look_at_new(core, now, began + core->tick_budget);
        }
#endif
    }
}

void
tasks_catch_up(Core *core, int64_t now)
{
    if (is_attached(core)) {
        look_at_new(core, now, now_ns() + core->tick_budget / 3);
    }
}

void
tasks_end_all(Core *core, int64_t now)
{
    for (size_t item = 0; item < core->tasks.used; item++) {
        if (!(tasks_at(&core->tasks, item)->flags & TASK_DONE)) {
            gone(core, tasks_at(&core->tasks, item), NULL, now);
        }
    }
}

void
tasks_free(Tasks *tasks)
{
    records_free(tasks);
    for (size_t index = 0; index < tasks->loops_used; index++) {
        Py_DECREF(tasks->loops[index].reference);
    }
    for (size_t item = 0; item < tasks->asks.used; item++) {
        Py_DECREF(((Ask *)tasks->asks.items)[item].reference);
        Py_XDECREF(((Ask *)tasks->asks.items)[item].waiter);
    }
    for (size_t item = 0; item < tasks->waits.used; item++) {
        Py_XDECREF(((WaitKey *)tasks->waits.items)[item].type);
    }
    Py_CLEAR(tasks->task_type);
    Py_CLEAR(tasks->future_type);
    Py_CLEAR(tasks->tasks);
    Py_CLEAR(tasks->eager);
    for (size_t item = 0; item < tasks->cuts.used; item++) {
        Py_XDECREF(((Cut *)tasks->cuts.items)[item].reference);
    }
    array_free(&tasks->cuts);
    steps_free(tasks);
    free(tasks->shadow);
    free(tasks->loops);
    free(tasks->wait_index.slots);
    array_free(&tasks->waits);
    array_free(&tasks->asks);
    *tasks = (Tasks){0};
}
