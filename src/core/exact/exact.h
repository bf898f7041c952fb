/* Exact awaits: what exact_*.c share. */
#ifndef FGTRACE_EXACT_H
#define FGTRACE_EXACT_H

#include "exact/step_chunks.h"

#pragma GCC visibility push(hidden)

#define CALLBACK 0x80000000U
#define THREAD 0xFFFFFFFEU
#define NOBODY 0xFFFFFFFFU
enum { SOON, TIMER, SELECTOR, FROM_THREAD };

typedef struct {
    PyObject *handle; /* strong: its address is no other's; NULL: it has run out of order */
    int64_t time;
    uint32_t waker[MOST_EXACT]; /* for each core */
    bool is_from_thread;        /* another one than the loop's */
} Scheduled;

typedef struct ExactLoop {
    struct ExactLoop *next;
    PyObject *loop;      /* its address */
    PyObject *reference; /* strong: a weak reference to it */
    Scheduled *ring;     /* a queue: what is scheduled is counted */
    uint64_t first;      /* the number of the one that comes next */
    uint32_t used, room;
    Turn *turn;          /* the innermost one under way */
    unsigned long ident; /* the thread in which it was seen to run, 0: none */
    const void *newest;  /* of its thread's list of tasks (3.14+) */
    int64_t next_search; /* for eager tasks (until 3.13) */
    bool is_eager;       /* it may have such: a search may have come too late for one */
    uint32_t index[MOST_EXACT]; /* its number in each core, NONE: not asked yet */
} ExactLoop;

struct Turn {
    Turn *outer;         /* in the same thread; or the next spare one */
    Turn *newer, *older; /* among all that are under way */
    ExactLoop *loop;     /* NULL: the traces that saw it are over */
    PyObject *task;      /* strong, or NULL: a callback */
    PyObject *callback;  /* strong */
    int64_t start, ready;
    uint32_t waker[MOST_EXACT];
    uint32_t track[MOST_EXACT]; /* of the task, NONE: not asked yet */
    uint64_t again;      /* the number of its own next step, scheduled by its last act; 0: none */
    int source;
    bool is_seen[MOST_EXACT]; /* by a core that was there when it began */
    bool is_assumed;     /* it began before there was anybody to see it; nobody will tell of its end */
};

typedef struct {
    Core *cores[MOST_EXACT]; /* borrowed, each in its place; NULL: free */
    int wanted;              /* how many there are */
    size_t places;           /* none is behind these */
    ExactLoop *loops;
    Turn *spare;             /* turns that are not in use */
    Turn *turns;             /* those that are under way, the newest first */
} Exacts;

extern Exacts exacts;
extern _Thread_local Turn *current_turn __attribute__((tls_model("initial-exec")));

static inline int64_t
relative(Core *core, int64_t time)
{
    time -= clock_pace(core->clock)->start;
    return time > 0 ? time : 0;
}

static inline Scheduled *
at_number(const ExactLoop *loop, uint64_t number)
{
    return &loop->ring[number & (loop->room - 1)];
}

static inline bool
begin_work(Core *core, int *collects)
{
    if (core->is_looking || core->tables.failed || !core->tasks.is_attached || core->tasks.broken != NULL) {
        return false;
    }
    core->is_looking = true;
    *collects = PyGC_Disable(); /* else an allocation could run the program's finalizers */
    core->path.used = 0;
    return true;
}

static inline void
end_work(Core *core, int collects)
{
    if (collects) {
        PyGC_Enable();
    }
    core->is_looking = false;
}

/* --- exact_loops.c --- */

void exact_note_end(const ExactLoop *loop, size_t place, int64_t now);
ExactLoop *exact_find_loop(PyObject *loop);
uint32_t exact_find_index(ExactLoop *loop, size_t place);
Scheduled *exact_push(ExactLoop *loop);
bool exact_take(ExactLoop *loop, const PyObject *handle, Scheduled *found);
void exact_end_closed(Core *core, const ExactLoop *loop, int64_t now);
void exact_free_loops(ExactLoop *dead);

static inline ExactLoop * /* or NULL */
exact_loop_of(PyObject *loop)
{
    ExactLoop *first = exacts.loops;
    bool is_first = first != NULL && first->loop == loop && weak_referent(first->reference) == loop;
    return is_first ? first : exact_find_loop(loop);
}

/* A loop's number in a core; NONE: that core is not told of it. */
static inline uint32_t
exact_index_in(ExactLoop *loop, size_t place)
{
    return loop->index[place] != NONE ? loop->index[place] : exact_find_index(loop, place);
}

/* --- exact_wakers.c --- */

Task *exact_known(Core *core, const Turn *turn);
void exact_know(const Turn *turn);
void exact_begun(Core *core, Task *record, uint32_t creator, int64_t now);

/* --- exact_steps.c --- */

void exact_note_in_all(Turn *turn, int64_t end);
void exact_end_first_steps(ExactLoop *loop, int64_t now);
bool exact_so_far(Core *core, size_t place, const Turn *turn, int64_t now, Step *step);

#pragma GCC visibility pop
#endif
