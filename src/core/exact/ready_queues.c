/* Exact awaits: knows the loops, and what each is to run.
 *
 * What is scheduled goes into a queue of its loop, in the order in which the loop will run it. A handle that is about
 * to run leaves the queue, with those before it: cancelled handles, which the loop passes over. A handle that is not
 * in the queue comes from the selector or from a timer.
 */
#include "exact/ready_queues.h"
#include "cpython/monotonic.h"
#include "hooks/handle_run.h"
#include "tasks/loops.h"

#define FARTHEST 64 /* places of the queue in which a handle is looked for */

/* Empty the queue of a loop that will run nothing more. The program's code may run. */
static void
empty(ExactLoop *loop)
{
    while (loop->used > 0) {
        PyObject *handle = at_number(loop, loop->first)->handle;
        loop->first++;
        loop->used--;
        Py_XDECREF(handle);
    }
}

/* A loop was closed, or is gone: note that in a trace that knows it. */
void
exact_loop_note_end(const ExactLoop *loop, size_t place, int64_t now)
{
    if (exact_state.traces[place] != NULL && loop->index[place] != NONE) {
        Loop *known = &exact_state.traces[place]->tasks->loops.items[loop->index[place]];
        if (!known->is_ended) {
            known->is_ended = true;
            tables_note(exact_state.traces[place]->tables, NOTE_EXACT, loop->index[place], now, 1, NULL);
        }
    }
}

/* Return a record for a loop that is new; NULL without memory. */
static ExactLoop *
add_loop(PyObject *loop)
{
    ExactLoop *found = calloc(1, sizeof *found);
    PyObject *reference = found != NULL ? PyWeakref_NewRef(loop, NULL) : NULL;
    if (reference == NULL) {
        PyErr_Clear();
        free(found);
        return NULL;
    }
    found->reference = reference;
    found->loop = loop;
    found->first = 1;
    memset(found->index, 0xff, sizeof found->index);
    found->next = exact_state.loops;
    exact_state.loops = found;
    return found;
}

/* Forget a loop that is gone. */
static void
sweep_loops(void)
{
    for (ExactLoop **link = &exact_state.loops; *link != NULL;) {
        ExactLoop *loop = *link;
        if (weak_referent(loop->reference) != NULL || loop->open != NULL) {
            link = &loop->next;
            continue;
        }
        for (size_t place = 0; place < exact_state.end; place++) {
            if (exact_state.traces[place] != NULL) {
                exact_loop_note_end(loop, place, relative(exact_state.traces[place], now_ns()));
            }
        }
        *link = loop->next;
        empty(loop);
        Py_DECREF(loop->reference);
        free(loop->ring);
        free(loop);
        return; /* the program's code may have run: the next call forgets the next loop */
    }
}

/* Return what is known of a loop, which is added if it is new; NULL for no loop, or without memory. */
ExactLoop *
exact_loop_find(PyObject *loop)
{
    for (ExactLoop *each = exact_state.loops; each != NULL; each = each->next) {
        if (each->loop == loop && weak_referent(each->reference) == loop) {
            return each;
        }
    }
    if (loop == NULL) {
        return NULL;
    }
    sweep_loops();
    return add_loop(loop);
}

/* Return a loop's number in a trace, and note that its steps are exact from now on; NONE where that trace is not told
 * of them. */
uint32_t
exact_loop_find_index(ExactLoop *loop, size_t place)
{
    Exact *exact = exact_state.traces[place];
    int index = loop_index(&exact->tasks->loops, loop->loop);
    if (index >= 0 && (!exact->tasks->loops.items[index].is_compiled || exact->is_watching)) {
        loop->index[place] = (uint32_t)index;
        exact->tasks->loops.items[index].is_exact = true;
        int64_t since = exact->steps.count > 0 || exact->pace->last_tick > 0 ? relative(exact, now_ns()) : 0;
        tables_note(exact->tables, NOTE_EXACT, (uint32_t)index, since, 0, NULL);
    }
    return loop->index[place];
}

/* --- queues --- */

/* Return a new last entry of a loop's queue; NULL without memory. */
Scheduled *
ready_push(ExactLoop *loop)
{
    if (loop->used == loop->room) {
        uint32_t room = loop->room ? loop->room * 2 : 64;
        Scheduled *ring = malloc(room * sizeof *ring);
        if (ring == NULL) {
            return NULL;
        }
        for (uint64_t number = loop->first; number < loop->first + loop->used; number++) {
            ring[number & (room - 1)] = *at_number(loop, number);
        }
        free(loop->ring);
        loop->ring = ring;
        loop->room = room;
    }
    return at_number(loop, loop->first + loop->used++);
}

/* Return whether an entry will not run any more: it was cancelled, has run, or is in no queue but ours. */
static bool
is_idle(const Scheduled *each)
{
    return each->handle == NULL || Py_REFCNT(each->handle) == 1 ||
           field_at(each->handle, asyncio.cancelled) == Py_True;
}

/* Take out the entry of a handle that is about to run, and return false where it has none. It is the first one where
 * the loop goes by the order, and one of those that follow where it does not. */
bool
ready_remove(ExactLoop *loop, const PyObject *handle, Scheduled *found)
{
    while (loop->used > 0 && at_number(loop, loop->first)->handle != handle && is_idle(at_number(loop, loop->first))) {
        PyObject *idle = at_number(loop, loop->first)->handle;
        loop->first++;
        loop->used--;
        Py_XDECREF(idle);
    }
    for (uint32_t place = 0; place < loop->used && place < FARTHEST; place++) {
        Scheduled *each = at_number(loop, loop->first + place);
        if (each->handle == handle) {
            *found = *each;
            each->handle = NULL;
            if (place == 0) {
                loop->first++;
                loop->used--;
            }
            Py_DECREF(found->handle); /* the handle is alive, for whoever runs it has it */
            return true;
        }
    }
    return false;
}

/* --- loops that were closed --- */

/* Note the end of a loop that was closed. */
void
ready_note_closed(Exact *exact, const ExactLoop *loop, int64_t now)
{
    PyObject *alive = weak_referent(loop->reference);
    PyObject *closed = alive != NULL ? inspect_attribute(alive, "_closed") : NULL;
    for (size_t place = 0; place < exact_state.end && (alive == NULL || closed == Py_True); place++) {
        if (exact_state.traces[place] == exact) {
            exact_loop_note_end(loop, place, now);
        }
    }
    exact->has_closed |= (alive == NULL || closed == Py_True) && loop->used > 0;
    Py_XDECREF(closed);
}

/* Free the queue of a loop that was closed. This must not be within a tick, since the program's code may run. */
void
ready_purge(Exact *exact)
{
    exact->has_closed = false;
    for (ExactLoop *loop = exact_state.loops; loop != NULL; loop = loop->next) {
        PyObject *alive = weak_referent(loop->reference);
        PyObject *closed = alive != NULL && loop->used > 0 ? inspect_attribute(alive, "_closed") : NULL;
        bool is_closed = closed == Py_True;
        Py_XDECREF(closed);
        if (is_closed) {
            empty(loop);
            return; /* the list may have changed; a later call frees the queue of the next one */
        }
    }
    sweep_loops();
}

/* Free a list of loops. The program's code may run. */
void
exact_loops_free(ExactLoop *dead)
{
    while (dead != NULL) {
        ExactLoop *next = dead->next;
        empty(dead);
        Py_DECREF(dead->reference);
        free(dead->ring);
        free(dead);
        dead = next;
    }
}
