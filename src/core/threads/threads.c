/* Observes every thread: its frames, and whether its CPU clock moved.
 *
 * The twin is `fgtrace._sampling.collect.threads`, which tells the reasons, but for one. It takes a clock that did not
 * move at all since the last tick for FROZEN where two ticks are FROZEN_AFTER switch intervals apart. This core knows
 * when a clock last moved (`moved`), so FROZEN does not depend on the rate of ticks; until then the clock is UNSURE.
 */
#include "threads/threads.h"
#include "cpython/inspect.h"
#include "cpython/monotonic.h"
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* The clock did not move at all, though not for long: the thread may wait for the GIL, and the other clocks decide. */
#define UNSURE (-4)

/* Read a thread's CPU clock; return false where the thread is gone. */
static bool
cpu_ns(int64_t native, int64_t *cpu)
{
    struct timespec time;
    /* the kernel's encoding of a thread's clock: see the twin */
    clockid_t clock = (clockid_t)(~(unsigned)native << 3 | 6);
    if (native <= 0 || clock_gettime(clock, &time) != 0) {
        return false;
    }
    *cpu = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    return true;
}

/* Return what it means that a CPU clock moved so far in such a time. */
static int8_t
judge(int64_t used, int64_t elapsed)
{
    if ((double)used >= (double)elapsed * BUSY) {
        return RAN;
    }
    if ((double)used >= (double)elapsed * STILL) {
        return SOME;
    }
    return STOOD_STILL;
}

/* Return what a thread's CPU clock did since the last tick. */
static int8_t
cpu_since_last(Thread *thread, int64_t time, int64_t frozen_after, bool is_soon)
{
    int64_t cpu;
    if (!cpu_ns(thread->native, &cpu)) {
        return UNKNOWN;
    }
    bool is_first = thread->time < 0;
    if (is_soon && !is_first) {
        return TOO_SOON;
    }
    int64_t used = cpu - thread->cpu, elapsed = time - thread->time;
    thread->time = time;
    thread->cpu = cpu;
    if (is_first) {
        thread->moved = time;
        return UNKNOWN;
    }
    if ((double)used >= (double)elapsed * STILL) {
        thread->waits = 0;
    }
    if (used > 0) {
        thread->moved = time;
        return judge(used, elapsed);
    }
    return time - thread->moved >= frozen_after ? FROZEN : UNSURE;
}

/* Return whether the system would run a thread if it had a processor free; asking takes 10 us. */
static bool
wants_to_run(int64_t native)
{
    char text[128];
    snprintf(text, sizeof text, "/proc/self/task/%lld/stat", (long long)native);
    int file = open(text, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'R';
}

/* Correct those whose clock stands still because the system gave their time to others. The system is asked once for
 * each stop of a clock, and again only while the answer is that the thread would run. */
static void
check_runnable(Threads *threads, bool also_still, int8_t then)
{
    for (size_t place = 0; place < threads->used; place++) {
        Thread *thread = &threads->items[place];
        bool is_still = thread->latest == STOOD_STILL || thread->latest == UNSURE;
        bool is_doubted = thread->latest == FROZEN || (also_still && is_still);
        if (thread->tick == threads->tick && is_doubted && !thread->waits) {
            thread->waits = !wants_to_run(thread->native);
            if (!thread->waits) {
                thread->latest = then;
            }
        }
    }
}

/* Return the name that `threading` has for a thread (strong); NULL without an exception. */
static PyObject *
name_of(Threads *threads, unsigned long ident)
{
    PyObject *key = PyLong_FromUnsignedLong(ident);
    PyObject *thread = key != NULL ? PyDict_GetItemWithError(threads->active, key) : NULL;
    Py_XDECREF(key);
    PyObject *name = NULL;
    if (thread != NULL) {
        Py_INCREF(thread);
        name = inspect_attribute(thread, "_name"); /* `name` may be a property of the program's */
        Py_DECREF(thread);
        if (name != NULL && !PyUnicode_CheckExact(name)) {
            Py_CLEAR(name);
        }
    }
    PyErr_Clear();
    return name;
}

/* Return the name of a thread (strong); NULL without an exception. */
PyObject *
thread_name(Threads *threads, unsigned long ident)
{
    return ident != 0 ? name_of(threads, ident) : NULL;
}

/* Return whether a thread is one of the tracer's own. */
static bool
is_hidden(Threads *threads, unsigned long ident)
{
    if (threads->hidden == NULL || PySet_GET_SIZE(threads->hidden) == 0) {
        return false;
    }
    PyObject *key = PyLong_FromUnsignedLong(ident);
    int found = key != NULL ? PySet_Contains(threads->hidden, key) : 0;
    Py_XDECREF(key);
    PyErr_Clear();
    return found > 0;
}

/* Return what is known of a thread, or NULL; `hint` is where it probably is. */
static Thread *
find(Threads *threads, uint64_t id, size_t hint)
{
    for (size_t place = 0; place < threads->used; place++) {
        Thread *thread = &threads->items[(hint + place) % threads->used];
        if (thread->id == id) {
            return thread;
        }
    }
    return NULL;
}

/* Return the record of a new thread, with a track where threads are wanted; NULL without memory. */
static Thread *
add(Threads *threads, PyThreadState *ts, int64_t now)
{
    Thread *items = grown(threads->items, &threads->room, threads->used, sizeof *items);
    if (items == NULL) {
        return NULL;
    }
    threads->items = items;
    Thread *thread = &threads->items[threads->used++];
    *thread = (Thread){.id = ts->id, .ident = ts->thread_id, .native = (int64_t)ts->native_thread_id};
    thread->time = thread->cpu = -1;
    thread->stack = GONE;
    thread->noted = -1;
    thread->track = NONE;
    if (threads->is_wanted) {
        thread->track = threads->tables->tracks++;
        tables_note(threads->tables, NOTE_THREAD, thread->track, now, thread->native, NULL);
    }
    return thread;
}

/* Note a thread's name where it is another than before. */
static void
rename_thread(Threads *threads, Thread *thread)
{
    PyObject *name = name_of(threads, thread->ident);
    if (name != NULL && name != thread->name) {
        tables_note(threads->tables, NOTE_NAME, thread->track, 0, 0, name);
        Py_XSETREF(thread->name, Py_NewRef(name));
    }
    Py_XDECREF(name);
}

/* End a thread's track, and forget the thread. */
static void
end(Threads *threads, size_t place, int64_t now)
{
    Thread *thread = &threads->items[place];
    if (thread->track != NONE) {
        tables_note(threads->tables, NOTE_END, thread->track, now, 0, NULL);
        tables_observe(threads->tables, now, thread->track, GONE, 0);
    }
    Py_XDECREF(thread->name);
    *thread = threads->items[--threads->used];
}

/* Append a row for a thread whose stack or whose CPU clock's state changed. */
static void
note(Threads *threads, Thread *thread, int64_t now)
{
    int8_t latest = thread->latest;
    int32_t stack = tables_stack_reversed(threads->tables, threads->walk->path.items + thread->first, thread->count);
    if (latest == TOO_SOON) {
        latest = stack == thread->stack ? thread->noted : UNKNOWN;
    }
    if (stack != thread->stack || latest != thread->noted) {
        thread->stack = stack;
        thread->noted = latest;
        tables_observe(threads->tables, now, thread->track, stack, (uint32_t)latest);
    }
}

/* Decide what the clocks mean together. A thread that stood still while another one ran was starved, unless it stood
 * still for long (then it waits) or too short (then it is not known). */
static void
compare_clocks(Threads *threads, size_t seen)
{
    bool anybody = false, unsure = threads->used != seen;
    for (size_t place = 0; place < threads->used; place++) {
        Thread *thread = &threads->items[place];
        anybody |= thread->tick == threads->tick && (thread->latest == RAN || thread->latest == SOME);
    }
    check_runnable(threads, !anybody, anybody ? STARVED : UNKNOWN);
    for (size_t place = 0; place < threads->used; place++) { /* only now: one that the system kept waiting is UNKNOWN */
        Thread *thread = &threads->items[place];
        unsure |= thread->tick == threads->tick && thread->latest == UNKNOWN;
    }
    int8_t instead = anybody ? STARVED : unsure ? TOO_SOON : STOOD_STILL;
    for (size_t place = 0; place < threads->used; place++) {
        Thread *thread = &threads->items[place];
        if (thread->tick == threads->tick) {
            thread->latest = thread->latest == STOOD_STILL ? instead
                             : thread->latest == FROZEN    ? STOOD_STILL
                             : thread->latest != UNSURE    ? thread->latest
                             : anybody                     ? TOO_SOON
                                                           : instead;
        }
    }
}

/* End the threads that this tick has not found. */
static void
end_unseen(Threads *threads, int64_t now)
{
    for (size_t place = threads->used; place-- > 0;) {
        if (threads->items[place].tick != threads->tick) {
            end(threads, place, now); /* the last one moves to this place, and was checked already */
        }
    }
}

/* Walk the frames of all threads into the path, and read their clocks where threads are wanted. Return false without
 * memory. */
bool
threads_walk(Threads *threads, int64_t now)
{
    int64_t time = now_ns();
    bool is_soon = time - threads->walked < SOONEST;
    size_t seen = 0, hint = 0;
    threads->tick++;
    PyInterpreterState *interp = PyInterpreterState_Get();
    int64_t frozen_after = FROZEN_AFTER * switch_interval_ns(interp);
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        size_t first = threads->walk->path.used;
        Frame *top = thread_top(ts);
        if (top == NULL || is_hidden(threads, ts->thread_id)) {
            continue;
        }
        Thread *thread = find(threads, ts->id, hint);
        if (!walk_frames(threads->tables, &threads->walk->path, top, &threads->walk->on_stack, ts->thread_id)) {
            return false;
        }
        if (threads->walk->path.used == first) {
            continue; /* the thread is between two frames of Python, as one that just begins */
        }
        if (thread == NULL && (thread = add(threads, ts, now)) == NULL) {
            return false;
        }
        hint = (size_t)(thread - threads->items) + 1;
        thread->first = first;
        thread->count = threads->walk->path.used - first;
        thread->tick = threads->tick;
        if (threads->is_wanted) {
            thread->latest = cpu_since_last(thread, time, frozen_after, is_soon);
            rename_thread(threads, thread);
        }
        seen++;
    }
    if (threads->is_wanted) {
        compare_clocks(threads, seen);
    }
    end_unseen(threads, now);
    threads->walked = now_ns();
    return true;
}

/* Append the rows of the threads whose stack or whose CPU clock's state changed; the rows of the tasks come before. */
void
threads_note(Threads *threads, int64_t now)
{
    for (size_t place = 0; threads->is_wanted && place < threads->used; place++) {
        note(threads, &threads->items[place], now);
    }
}

/* Free everything, with the references that are held. */
void
threads_free(Threads *threads)
{
    for (size_t place = 0; place < threads->used; place++) {
        Py_XDECREF(threads->items[place].name);
    }
    free(threads->items);
    Py_CLEAR(threads->active);
    Py_CLEAR(threads->hidden);
    *threads = (Threads){0};
}
