/* Exact awaits: what runs from when to when. handles.c and contexts.c tell of both ends of a turn. */
#include "exact/exact.h"

static PyObject * /* borrowed, or NULL */
task_loop(PyObject *task)
{
    for (size_t place = 0; place < exacts.places; place++) {
        if (exacts.cores[place] != NULL && exacts.cores[place]->tasks.is_attached) {
            return tasks_field(task, exacts.cores[place]->tasks.at.loop);
        }
    }
    return NULL;
}

/* A turn begins in this thread. Not on the stack: a greenlet may have its part of that elsewhere meanwhile. */
static Turn *
begin_turn(ExactLoop *loop, PyObject *task, PyObject *callback, int64_t now)
{
    Turn *turn = exacts.spare;
    if (turn != NULL) {
        exacts.spare = turn->outer;
    }
    else if ((turn = malloc(sizeof *turn)) == NULL) {
        return NULL;
    }
    *turn = (Turn){.outer = current_turn, .older = exacts.turns, .loop = loop, .start = now, .ready = -1,
                   .task = Py_XNewRef(task), .callback = Py_XNewRef(callback),
                   .waker = {NOBODY, NOBODY, NOBODY, NOBODY}, .track = {NONE, NONE, NONE, NONE}};
    if (exacts.turns != NULL) {
        exacts.turns->newer = turn;
    }
    exacts.turns = current_turn = loop->turn = turn;
    loop->ident = PyThread_get_thread_ident();
    for (size_t place = 0; place < exacts.places; place++) {
        turn->is_seen[place] = exacts.cores[place] != NULL;
    }
    return turn;
}

/* Take a turn out of all lists; turns of greenlets need not nest. The program's code may run. */
static void
end_turn(Turn *turn)
{
    for (Turn **link = &current_turn; *link != NULL; link = &(*link)->outer) {
        if (*link == turn) {
            *link = turn->outer;
            break;
        }
    }
    *(turn->newer != NULL ? &turn->newer->older : &exacts.turns) = turn->older;
    if (turn->older != NULL) {
        turn->older->newer = turn->newer;
    }
    if (turn->loop != NULL && turn->loop->turn == turn) {
        Turn *other = exacts.turns;
        while (other != NULL && other->loop != turn->loop) {
            other = other->older;
        }
        turn->loop->turn = other;
    }
    PyObject *task = turn->task, *callback = turn->callback;
    *turn = (Turn){.outer = exacts.spare};
    exacts.spare = turn;
    Py_XDECREF(task);
    Py_XDECREF(callback);
}

static int
source_of(PyObject *handle, bool was_scheduled)
{
    if (was_scheduled) {
        return SOON;
    }
    if (PyObject_TypeCheck(handle, asyncio.timer)) {
        return TIMER;
    }
    return Py_TYPE(handle) == asyncio.handle ? SELECTOR : FROM_THREAD; /* 3.14's _ThreadSafeHandle */
}

/* The step of this thread that was assumed is over, for another begins. */
static void
end_assumed(int64_t now)
{
    Turn *turn = current_turn;
    if (turn != NULL && turn->is_assumed) {
        exact_note_in_all(turn, now);
        end_turn(turn);
    }
}

/* A task of a loop with handles of its own is stepped: nothing is known of who scheduled it. */
Turn *
exact_enter_task(PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    int collects = PyGC_Disable();
    ExactLoop *loop = exact_loop_of(task_loop(task));
    Turn *turn = NULL;
    if (loop != NULL) {
        exact_end_first_steps(loop, now);
        turn = begin_turn(loop, task, NULL, now);
        for (size_t place = 0; turn != NULL && place < exacts.places; place++) {
            turn->is_seen[place] &= exacts.cores[place] != NULL && exacts.cores[place]->exact->is_watching;
        }
    }
    if (collects) {
        PyGC_Enable();
    }
    return turn;
}

Turn *
exact_enter(PyObject *handle, PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    int collects = PyGC_Disable();
    ExactLoop *loop = exact_loop_of(handle_slot(handle, asyncio.loop));
    Turn *turn = NULL;
    if (loop != NULL) {
        Scheduled scheduled;
        bool was_scheduled = !PyObject_TypeCheck(handle, asyncio.timer) && exact_take(loop, handle, &scheduled);
        exact_end_first_steps(loop, now);
        turn = begin_turn(loop, task, handle_slot(handle, asyncio.callback), now);
        if (turn != NULL) {
            turn->source = source_of(handle, was_scheduled);
            if (was_scheduled) {
                turn->ready = scheduled.time;
                turn->source = scheduled.is_from_thread ? FROM_THREAD : SOON;
                memcpy(turn->waker, scheduled.waker, sizeof turn->waker);
            }
            for (size_t place = 0; turn->source == FROM_THREAD && !was_scheduled && place < exacts.places; place++) {
                turn->waker[place] = THREAD;
            }
            if (task != NULL && loop->is_eager) {
                exact_know(turn); /* now: if it ends with this step, there is no more to be known of it afterwards */
            }
        }
    }
    if (collects) {
        PyGC_Enable();
    }
    return turn;
}

/* Tasks that began within a step, and wait where it ends: no handle of theirs has run. */
static void
find_eager(const Turn *turn, int64_t end)
{
    ExactLoop *loop = turn->loop;
    if (!tasks_may_be_new(loop->loop, &loop->newest, &loop->next_search, end)) {
        return;
    }
    loop->is_eager = true;
    for (size_t place = 0; place < exacts.places; place++) {
        Core *core = exacts.cores[place];
        int collects;
        if (core == NULL || !begin_work(core, &collects)) {
            continue;
        }
        size_t first = core->tasks.used;
        tasks_discover_here(core, relative(core, end));
        for (size_t item = first; item < core->tasks.used; item++) {
            Task *record = tasks_at(&core->tasks, item);
            if (record->track != NONE && !(record->flags & TASK_DONE)) {
                exact_begun(core, record, turn->track[place], relative(core, end));
            }
        }
        tasks_have_been_searched(&core->tasks, &loop->next_search, end);
        end_work(core, collects);
    }
}

/* Find tasks that were made in this thread since it was asked last; false where there are none. */
bool
exact_discover(void)
{
    static _Thread_local const void *newest;
    int64_t unused = 0;
    if (!tasks_may_be_new(NULL, &newest, &unused, 0)) {
        return false;
    }
    for (size_t place = 0; place < exacts.places; place++) {
        Core *core = exacts.cores[place];
        int collects;
        if (core != NULL && begin_work(core, &collects)) {
            tasks_discover_here(core, relative(core, now_ns()));
            end_work(core, collects);
        }
    }
    return true;
}

void
exact_leave(Turn *turn)
{
    int64_t end = now_ns();
    PyObject *error = PyErr_Occurred() ? take_exception() : NULL;
    ExactLoop *loop = turn->loop;
    exact_note_in_all(turn, end);
    if (loop != NULL && exacts.wanted > 0) {
        find_eager(turn, end);
        if (turn->again >= loop->first && turn->again < loop->first + loop->used) {
            Scheduled *again = at_number(loop, turn->again);
            again->time = end;
            memcpy(again->waker, turn->track, sizeof again->waker);
        }
    }
    end_turn(turn);
    if (error != NULL) {
        put_exception(error);
    }
}

/* A turn is over of whose end nobody told: nothing is noted. */
void
exact_drop(Turn *turn)
{
    end_turn(turn);
}

/* A trace is begun in the middle of a step of which nobody told, or whose trace is over. */
void
exact_assume(PyObject *loop, PyObject *task)
{
    contexts_catch_up();
    Turn *turn = current_turn;
    if (turn != NULL && turn->loop != NULL) {
        return; /* it is known */
    }
    if (turn != NULL && turn->is_assumed) {
        end_turn(turn);
        turn = NULL;
    }
    ExactLoop *found = exact_loop_of(loop);
    if (found == NULL) {
        return;
    }
    if (turn == NULL) {
        turn = begin_turn(found, task, NULL, 0);
        if (turn == NULL) {
            return;
        }
        turn->is_assumed = true;
    }
    else { /* its end will be told */
        turn->loop = found;
        turn->task = Py_NewRef(task);
        turn->start = 0;
        turn->ready = -1;
        found->turn = turn;
    }
    for (size_t place = 0; place < exacts.places; place++) {
        turn->is_seen[place] = exacts.cores[place] != NULL;
        if (exacts.cores[place] != NULL && exact_index_in(found, place) != NONE) {
            exacts.cores[place]->tasks.loops[found->index[place]].is_begun = true;
        }
    }
}
