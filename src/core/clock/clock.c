/* The clock: a native thread that keeps the time without the GIL.
 *
 * When a tick is due and a thread runs Python code, the clock requests a call at that thread's next check, and the
 * sample is taken there, in the very thread that runs. When no thread has the GIL, the clock takes it. A thread of
 * ours that waits for the GIL slows a busy program down, so the clock waits for it only after PATIENCE; on 3.11 also
 * after GRACE, and at once where no call can be requested.
 *
 * Three things could break the program, and are avoided. The interpreter's queue of calls is short, and the program
 * uses it as well: at most one call of ours is in it at any time. The clock's thread must not outlive the interpreter:
 * `clock_halt` joins it, which `Trace` calls at exit. A call may come when its clock is gone: the structure stays until
 * then, and says so.
 *
 * The grid, the budget and the gaps are those of `fgtrace._sampling.clock.Ticker`; that module's docstring tells the
 * reasons.
 */
#include "clock/clock.h"
#include "cpython/monotonic.h"
#include "cpython/version_compat.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>

/* ns in which a thread that holds the GIL will have made a check. From then on the naps are longer, and on 3.11 the
 * holder is hurried. */
#define GRACE 300000
#define PATIENCE 5000000   /* ns (more than GRACE) after which the clock waits for the GIL like any other thread */
/* ns between two reads of whether the sample was taken. The clock takes the GIL itself only where the GIL was free at
 * both: a loop gives the GIL away for a moment at each round, and would have to wait for the clock to get it back. */
#define NAP 40000
#define LONGEST_NAP 50000000 /* ns after which a sleeping clock looks whether steps wait to be written */
#define A_BREATH 700000    /* ns between two searches for tasks that no tick has reached yet */
#define LONGEST_START 1000000000 /* ns for which a start waits for its threads */

enum { DONE, WANTED, UNDER_WAY };

struct Clock {
    Tables *tables;
    Pace *pace;
    const ClockJobs *jobs;
    void *of;     /* what the jobs are called with */
    int64_t due;  /* the point of the grid that follows the last tick */
    int64_t aim;  /* the point for which the clock sleeps: `due`, or a later one while the budget is overdrawn */
    int64_t woke; /* when the clock woke for that */
    int64_t last; /* when the last tick was taken, which is when the budget was last filled up */
    double bucket; /* ns that ticks may still take: below 0, they are skipped */
    double max_overhead;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, work, ready;
    PyInterpreterState *interp;
    PyThreadState *main_thread; /* only 3.11 needs it */
    atomic_int want, queued;
    bool is_running; /* there is a thread to join */
    bool is_halted;  /* the thread is to end */
    bool is_over;    /* the thread has ended: `clock_wait` returns 0 */
    bool is_woken;   /* there is work: `clock_wait` returns 1 */
    bool is_orphan;  /* the core is gone: the call that is still queued frees the clock */
    bool has_state;  /* the clock's thread has its thread state */
    bool is_attended; /* a thread of ours is in `clock_wait` */
    bool is_extra; /* what is wanted is no tick, but a search for tasks that no tick has reached yet */
};

/* --- a tick, with the GIL --- */

/* Note that ticks are missing. */
static void
note_gap(Clock *clock, int64_t start, int64_t end, uint32_t kind, int64_t ticks)
{
    Note *note = tables_note(clock->tables, NOTE_GAP, kind, start - clock->pace->start,
                             end - clock->pace->start, NULL);
    if (note != NULL) {
        note->ticks = (unsigned)ticks & 0xFFFFFF;
    }
}

/* Move the grid on for a tick that is taken now, and note the ticks that are missing; return the time from which on the
 * sample holds: when it was due where it comes late, else now. */
static int64_t
settle(Clock *clock, int64_t now)
{
    int64_t period = clock->pace->period;
    int64_t skipped = (clock->aim - clock->due) / period, late = (now - clock->aim) / period;
    clock->bucket += (double)(now - clock->last) * clock->max_overhead;
    clock->bucket = clock->bucket < BURST ? clock->bucket : BURST;
    if (skipped > 0) {
        note_gap(clock, clock->due, now, GAP_SKIPPED, skipped + late);
    }
    else if (late > 0) {
        note_gap(clock, clock->aim, now, GAP_LATE, late);
    }
    clock->pace->missed += (uint64_t)(skipped + late);
    clock->due = clock->aim + (late + 1) * period;
    clock->last = now;
    return late > 0 && skipped == 0 ? clock->aim : now;
}

/* Take the cost of a tick from the budget; the tick is done. */
static void
pay(Clock *clock, int64_t cost)
{
    clock->pace->spent += cost;
    clock->pace->longest = cost > clock->pace->longest ? cost : clock->pace->longest;
    clock->bucket -= (double)cost;
    /* this comes last: until this store the clock's thread touches none of these fields */
    atomic_store(&clock->want, DONE);
}

/* Take the sample that is wanted, unless another thread does. */
static void
sample(Clock *clock)
{
    int wanted = WANTED;
    if (!atomic_compare_exchange_strong(&clock->want, &wanted, UNDER_WAY)) {
        return;
    }
    int64_t now = now_ns(), cpu = own_cpu_ns();
    if (clock->is_extra) {
        clock->jobs->catch_up(clock->of, now - clock->pace->start);
        pay(clock, own_cpu_ns() - cpu);
        return;
    }
    if (clock->pace->lateness != NULL) {
        int64_t *late = array_push(clock->pace->lateness, 2 * sizeof *late);
        if (late != NULL) {
            late[0] = clock->woke - clock->aim; /* the part of it that the system is to blame for */
            late[1] = now - clock->aim;
        }
    }
    int64_t since = settle(clock, now);
    clock->jobs->tick(clock->of, since - clock->pace->start, now - clock->pace->start);
    clock->pace->taken++;
    pay(clock, own_cpu_ns() - cpu);
}

/* The call that was requested: take the sample. */
static int
on_call(void *argument)
{
    Clock *clock = argument;
    atomic_store(&clock->queued, 0);
    if (clock->is_orphan) {
        free(clock);
        return 0;
    }
    if (clock->is_running) {
        sample(clock);
    }
    return 0;
}

/* --- the clock's thread, without the GIL --- */

/* Wait for the GIL, and take the sample. */
static void
sample_with_gil(Clock *clock, PyThreadState **state)
{
    PyEval_RestoreThread(*state);
    sample(clock);
    *state = PyEval_SaveThread();
}

/* Have the thread that holds the GIL take the sample; return false where that cannot be requested. */
static bool
request_sample(Clock *clock)
{
    if (atomic_exchange(&clock->queued, 1) == 1) {
        return true; /* the last request is still queued, and will do */
    }
    if (request_call(clock->interp, clock->main_thread, on_call, clock)) {
        return true;
    }
    atomic_store(&clock->queued, 0);
    return false;
}

/* Set a flag, and wake those who wait for it. */
static void
notify(Clock *clock, bool *what, pthread_cond_t *whom)
{
    pthread_mutex_lock(&clock->lock); /* no thread that has this lock waits for the GIL */
    *what = true;
    pthread_cond_broadcast(whom);
    pthread_mutex_unlock(&clock->lock);
}

/* Sleep for a moment. */
static void
nap(int64_t ns)
{
    struct timespec time = {0, ns};
    nanosleep(&time, NULL);
}

/* Have a sample taken, and wait until it was. */
static void
tick(Clock *clock, PyThreadState **state)
{
    int64_t began = clock->woke = now_ns();
    bool is_asked = false, was_free = false;
    atomic_store(&clock->want, WANTED);
    while (atomic_load(&clock->want) != DONE) {
        int64_t waited = now_ns() - began;
        bool is_free = !gil_is_taken(clock->interp);
        if ((is_free && was_free) || waited > PATIENCE) {
            sample_with_gil(clock, state);
            break;
        }
        was_free = is_free;
        /* where the GIL is free nothing is requested, so that the sample shows what its next holder did before */
        if (!is_asked && !is_free) {
            is_asked = request_sample(clock);
        }
        if (PY_VERSION_HEX < 0x030C0000 && !is_free && (!is_asked || waited > GRACE)) {
            hurry_holder(clock->interp);
            sample_with_gil(clock, state);
            break;
        }
        nap(waited > GRACE ? 5 * NAP : NAP);
    }
}

/* Return the next point of the grid at which the budget is no longer overdrawn. */
static int64_t
next_due(Clock *clock)
{
    if (clock->bucket >= 0) {
        return clock->due;
    }
    int64_t paid_back = clock->last + (int64_t)(-clock->bucket / clock->max_overhead);
    int64_t behind = paid_back > clock->due ? paid_back - clock->due : 0;
    return clock->due + (behind + clock->pace->period - 1) / clock->pace->period * clock->pace->period;
}

/* Sleep until a time; return false where the clock was halted. */
static bool
sleep_until(Clock *clock, int64_t until)
{
    struct timespec time = {until / 1000000000, until % 1000000000};
    pthread_mutex_lock(&clock->lock);
    int code = 0;
    while (!clock->is_halted && code != ETIMEDOUT) {
        code = pthread_cond_timedwait(&clock->wake, &clock->lock, &time);
    }
    bool goes_on = !clock->is_halted;
    pthread_mutex_unlock(&clock->lock);
    return goes_on;
}

/* Return whether there is time and budget to search for tasks that no tick has reached yet. */
static bool
may_catch_up(Clock *clock)
{
    return clock->jobs->is_behind(clock->of) && clock->bucket > BURST / 2 && now_ns() + 2 * A_BREATH < next_due(clock);
}

/* The clock's thread. */
static void *
keep_time(void *argument)
{
    Clock *clock = argument;
    prctl(PR_SET_TIMERSLACK, 1000UL); /* of this thread: else the system wakes it up to 50 us late */
    PyGILState_STATE outer = PyGILState_Ensure();
    PyThreadState *state = PyEval_SaveThread();
    notify(clock, &clock->has_state, &clock->ready);
    for (;;) {
        clock->aim = next_due(clock);
        bool goes_on = true;
        /* until shortly before the tick, write the steps that exceed the memory, and sleep in between */
        for (int64_t now = now_ns();
             goes_on && now + LONGEST_NAP < clock->aim && clock->jobs->spill(clock->of); now = now_ns()) {
            goes_on = sleep_until(clock, now + LONGEST_NAP);
        }
        if (!goes_on || !sleep_until(clock, clock->aim)) {
            break;
        }
        clock->jobs->spill(clock->of);
        clock->is_extra = false;
        tick(clock, &state);
        clock->is_extra = true;
        while (may_catch_up(clock) && sleep_until(clock, now_ns() + A_BREATH)) {
            tick(clock, &state);
        }
        /* this is read without the GIL: work that is missed now is seen after the next tick */
        if (clock->jobs->has_work(clock->of)) {
            clock_wake(clock);
        }
    }
    PyEval_RestoreThread(state);
    PyGILState_Release(outer);
    return NULL;
}

/* --- what the core calls, with the GIL --- */

/* Return a clock that does not tick yet, or NULL without memory. It borrows all that it is given. */
Clock *
clock_new(Tables *tables, Pace *pace, const ClockJobs *jobs, void *of, double max_overhead)
{
    Clock *clock = calloc(1, sizeof *clock);
    if (clock == NULL) {
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&clock->lock, NULL);
    pthread_cond_init(&clock->wake, &monotonic);
    pthread_cond_init(&clock->work, NULL);
    pthread_cond_init(&clock->ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
    clock->tables = tables;
    clock->pace = pace;
    clock->jobs = jobs;
    clock->of = of;
    clock->max_overhead = max_overhead;
    clock->bucket = BURST;
    clock->interp = PyInterpreterState_Get();
    clock->pace->start = clock->due = clock->last = now_ns();
    return clock;
}

/* End a clock, and free it. */
void
clock_free(Clock *clock)
{
    clock_halt(clock);
    pthread_cond_destroy(&clock->wake);
    pthread_cond_destroy(&clock->work);
    pthread_cond_destroy(&clock->ready);
    pthread_mutex_destroy(&clock->lock);
    if (atomic_load(&clock->queued) == 1) {
        clock->is_orphan = true; /* the call that is still queued frees it */
        return;
    }
    free(clock);
}

/* Start the clock's thread with all signals blocked but those that a thread brings upon itself; return 0 or an error.
 *
 * A program that takes signals by sigwait or signalfd blocks them in its threads; one that is not blocked in a thread
 * of ours would be delivered there, and end the process. The twin is `fgtrace._sampling.own_threads`. */
static int
start_without_signals(Clock *clock)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t place = 0; place < sizeof faults / sizeof *faults; place++) {
        sigdelset(&blocked, faults[place]);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&clock->thread, NULL, keep_time, clock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Start the clock's thread, and return 0 when it ticks; or -1 with an exception. */
int
clock_start(Clock *clock)
{
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(clock->interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        if (ts->thread_id == _PyRuntime.main_thread) {
            clock->main_thread = ts;
        }
    }
    clock->is_halted = clock->has_state = false;
    clock->is_running = true;
    if (start_without_signals(clock) != 0) {
        clock->is_running = false;
        PyErr_SetString(PyExc_RuntimeError, "can't start the clock's thread");
        return -1;
    }
    /* This waits until the clock's thread and the one in `clock_wait` have what they need the GIL for: a loop that
     * gives the GIL away for a moment at each round would starve them (they are woken in vain, and never wait long
     * enough in a row to ask for it). */
    int64_t until = now_ns() + LONGEST_START;
    struct timespec time = {until / 1000000000, until % 1000000000};
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&clock->lock);
    for (int code = 0; code != ETIMEDOUT && !(clock->has_state && clock->is_attended);) {
        code = pthread_cond_timedwait(&clock->ready, &clock->lock, &time);
    }
    pthread_mutex_unlock(&clock->lock);
    Py_END_ALLOW_THREADS
    return 0;
}

/* End the clock's thread; the GIL is given away meanwhile. */
void
clock_halt(Clock *clock)
{
    notify(clock, &clock->is_halted, &clock->wake);
    if (clock->is_running) {
        clock->is_running = false;
        Py_BEGIN_ALLOW_THREADS
        pthread_join(clock->thread, NULL);
        Py_END_ALLOW_THREADS
    }
    atomic_store(&clock->want, DONE);
    notify(clock, &clock->is_over, &clock->work); /* this comes last: no tick comes after it */
}

/* Wait without the GIL; return 1 where there is work, 0 where the clock was halted. */
int
clock_wait(Clock *clock)
{
    bool is_woken;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&clock->lock);
    clock->is_attended = true;
    pthread_cond_broadcast(&clock->ready);
    while (!clock->is_woken && !clock->is_over) {
        pthread_cond_wait(&clock->work, &clock->lock);
    }
    is_woken = !clock->is_over;
    clock->is_over = clock->is_woken = clock->is_attended = false;
    pthread_mutex_unlock(&clock->lock);
    Py_END_ALLOW_THREADS
    return is_woken;
}

/* There is work: have `clock_wait` return. */
void
clock_wake(Clock *clock)
{
    notify(clock, &clock->is_woken, &clock->work);
}
