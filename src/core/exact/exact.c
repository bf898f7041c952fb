/* Exact awaits: when each step of a task and each callback of a loop began and ended, when it was scheduled, and by
 * whom. The twin is `fgtrace._collect._exact`, which tells the reasons; the duties are in exact_*.c.
 */
#include "exact/exact.h"

Exacts exacts;
_Thread_local Turn *current_turn __attribute__((tls_model("initial-exec")));

bool
exact_is_wanted(void)
{
    return exacts.wanted > 0;
}

Core *
exact_core(size_t place)
{
    return exacts.cores[place];
}

bool
exact_begin(Core *core, const char *folder, size_t most_bytes, bool is_watching)
{
    size_t place = 0;
    while (place < MOST_EXACT && exacts.cores[place] != NULL) {
        place++;
    }
    Exact *exact = place < MOST_EXACT ? chunks_new(folder, most_bytes) : NULL;
    if (exact == NULL) {
        return false;
    }
    exact->is_watching = is_watching;
    core->exact = exact;
    exacts.cores[place] = core;
    exacts.places = place + 1 > exacts.places ? place + 1 : exacts.places;
    exacts.wanted++;
    for (ExactLoop *loop = exacts.loops; loop != NULL; loop = loop->next) {
        loop->index[place] = NONE;
        for (uint32_t each = 0; each < loop->used; each++) { /* scheduled before this trace */
            at_number(loop, loop->first + each)->waker[place] = NOBODY;
        }
    }
    for (Turn *turn = exacts.turns; turn != NULL; turn = turn->older) { /* under way: for this trace it begins now */
        turn->is_seen[place] = turn->loop != NULL;
        turn->waker[place] = NOBODY;
        turn->track[place] = NONE;
    }
    return true;
}

/* A core is gone; with the last one all that is known of loops. */
static void
settle_places(void)
{
    while (exacts.places > 0 && exacts.cores[exacts.places - 1] == NULL) {
        exacts.places--;
    }
    if (exacts.wanted > 0) {
        return;
    }
    ExactLoop *dead = exacts.loops;
    exacts.loops = NULL; /* first: what follows may run the program's code */
    for (Turn *turn = exacts.turns; turn != NULL; turn = turn->older) {
        turn->loop = NULL;
        turn->again = 0;
    }
    for (Turn *turn = exacts.turns; turn != NULL;) {
        PyObject *task = turn->loop == NULL ? turn->task : NULL, *callback = turn->loop == NULL ? turn->callback : NULL;
        if (task == NULL && callback == NULL) {
            turn = turn->older;
            continue;
        }
        turn->task = turn->callback = NULL;
        Py_XDECREF(task);
        Py_XDECREF(callback);
        turn = exacts.turns; /* anything may have changed */
    }
    exact_free_loops(dead);
}

/* The trace is over: what is under way ends with it. */
void
exact_end(Core *core, int64_t now)
{
    for (size_t place = 0; place < exacts.places; place++) {
        if (exacts.cores[place] != core) {
            continue;
        }
        for (Turn *turn = exacts.turns; turn != NULL; turn = turn->older) {
            Step step;
            if (exact_so_far(core, place, turn, now, &step)) {
                chunks_keep(core, &step);
            }
            turn->is_seen[place] = false;
        }
        exacts.cores[place] = NULL;
        exacts.wanted--;
    }
    settle_places();
}

/* The steps that are under way (bytes), as if they ended now. */
PyObject *
exact_under_way(Core *core, int64_t now)
{
    Array found = {0};
    int collects = PyGC_Disable(); /* else the program's finalizers could begin turns meanwhile */
    for (size_t place = 0; place < exacts.places; place++) {
        for (const Turn *turn = exacts.cores[place] == core ? exacts.turns : NULL; turn != NULL; turn = turn->older) {
            Step step, *kept = exact_so_far(core, place, turn, now, &step) ? array_push(&found, sizeof step) : NULL;
            if (kept != NULL) {
                *kept = step;
            }
        }
    }
    if (collects) {
        PyGC_Enable();
    }
    PyObject *bytes = PyBytes_FromStringAndSize(found.items, (Py_ssize_t)(found.used * sizeof(Step)));
    array_free(&found);
    return bytes;
}

/* In the child of a fork nothing is traced. */
void
exact_forget(void)
{
    memset(exacts.cores, 0, sizeof exacts.cores);
    exacts.wanted = 0;
    settle_places();
}

void
exact_free(Core *core)
{
    Exact *exact = core->exact;
    if (exact == NULL) {
        return;
    }
    exact_end(core, 0);
    core->exact = NULL;
    chunks_free(exact);
}
