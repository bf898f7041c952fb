/* Exact awaits: who schedules what, and whose child a new task is. */
#include "exact/exact.h"

/* The record of the task whose turn it is, with its track, or NULL. */
Task *
exact_known(Core *core, const Turn *turn)
{
    Task *record = tasks_find(&core->tasks, turn->task);
    int64_t since = relative(core, turn->ready > 0 ? turn->ready : turn->start);
    if (record == NULL) {
        record = tasks_add(core, turn->task, NULL, since);
    }
    else if (record->flags & TASK_WAITS_FOR_LOOP) {
        tasks_promote(core, record, turn->task, since);
    }
    return record;
}

void
exact_know(const Turn *turn)
{
    for (size_t place = 0; place < exacts.places; place++) {
        int collects;
        if (exacts.cores[place] != NULL && begin_work(exacts.cores[place], &collects)) {
            exact_known(exacts.cores[place], turn);
            end_work(exacts.cores[place], collects);
        }
    }
}

/* Who schedules something now, as a core's numbers say it. */
static uint32_t
waker_in(size_t place)
{
    Turn *turn = current_turn;
    if (turn == NULL || turn->loop == NULL) {
        return NOBODY;
    }
    if (turn->task == NULL) {
        uint32_t index = exact_index_in(turn->loop, place);
        return index == NONE ? NOBODY : CALLBACK | (uint32_t)turn->source << 24 | index;
    }
    if (turn->track[place] == NONE) {
        const Task *record = exact_known(exacts.cores[place], turn);
        turn->track[place] = record != NULL ? record->track : NONE;
    }
    return turn->track[place];
}

/* Whether a loop runs in another thread than this one. */
static bool
is_from_thread(const ExactLoop *loop)
{
    unsigned long ident = loop->ident;
    if (ident == 0) {
        long found = thread_of(loop->loop);
        ident = found > 0 ? (unsigned long)found : 0;
    }
    return ident != 0 && ident != PyThread_get_thread_ident();
}

/* A task is new: what it is to run, and whose child it is. */
void
exact_begun(Core *core, Task *record, uint32_t creator, int64_t now)
{
    if (creator < CALLBACK) {
        tables_note(&core->tables, NOTE_PARENT, record->track, 0, creator, NULL);
    }
    record->flags |= TASK_HAS_OWNER;
    tasks_look_at(core, record, true, now);
}

/* A task's first step is scheduled by its creator, in the middle of `Task.__init__`. */
static void
created(size_t place, PyObject *task, uint32_t creator, int64_t now)
{
    Core *core = exacts.cores[place];
    int collects;
    if (tasks_find(&core->tasks, task) != NULL || !begin_work(core, &collects)) {
        return;
    }
    Task *record = tasks_add(core, task, NULL, relative(core, now));
    if (record != NULL && record->track != NONE) {
        exact_begun(core, record, creator, relative(core, now));
    }
    end_work(core, collects);
}

/* When it was, and who did it. */
static void
note_scheduled(ExactLoop *loop, Scheduled *scheduled, PyObject *task)
{
    scheduled->time = now_ns();
    scheduled->is_from_thread = is_from_thread(loop);
    for (size_t place = 0; place < exacts.places; place++) {
        int collects;
        if (exacts.cores[place] != NULL && begin_work(exacts.cores[place], &collects)) {
            bool is_outside = current_turn == NULL || current_turn->loop == NULL;
            scheduled->waker[place] = is_outside && scheduled->is_from_thread ? THREAD : waker_in(place);
            end_work(exacts.cores[place], collects);
            if (task != NULL) {
                created(place, task, scheduled->waker[place], scheduled->time);
            }
        }
    }
}

void
exact_scheduled(PyObject *loop, PyObject *handle)
{
    int collects = PyGC_Disable(); /* the references made here may be what is one too many */
    ExactLoop *found = exact_loop_of(loop);
    Scheduled *scheduled = found != NULL ? exact_push(found) : NULL;
    if (scheduled != NULL) {
        uint64_t number = found->first + found->used - 1;
        PyObject *callback = handle_slot(handle, asyncio.callback);
        PyObject *task = callback != NULL && Py_TYPE(callback) == asyncio.step ? handle_task(callback) : NULL;
        *scheduled = (Scheduled){Py_NewRef(handle), 0, {NOBODY, NOBODY, NOBODY, NOBODY}, false};
        if (task != NULL && current_turn != NULL && current_turn->task == task && found == current_turn->loop) {
            current_turn->again = number; /* a bare yield: the time is read at the end anyway */
        }
        else {
            note_scheduled(found, scheduled, task);
        }
    }
    if (collects) {
        PyGC_Enable();
    }
}
