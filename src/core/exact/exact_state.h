/* Exact awaits: the traces that want them, the loops, and the steps under way. */
#ifndef FGTRACE_EXACT_EXACT_STATE_H
#define FGTRACE_EXACT_EXACT_STATE_H

#include "exact/callback_names.h"
#include "exact/garbage_collections.h"
#include "exact/step_chunks.h"
#include "tables/pace.h"
#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

#define MOST_EXACT 4 /* traces with exact awaits at once */
/* What the track and the waker of a step say: `fgtrace._recording.step_records`. */
#define CALLBACK 0x80000000U
#define THREAD 0xFFFFFFFEU
#define NOBODY 0xFFFFFFFFU
#define SOURCE_SHIFT 24
enum { SOON, TIMER, SELECTOR, FROM_THREAD };

typedef struct Exact { /* of one trace with exact awaits */
    Tables *tables; /* of the same core */
    Tasks *tasks;
    const Pace *pace;
    Steps steps;
    Callbacks callbacks;
    Collections collections;
    bool is_watching; /* it is told of compiled loops' steps */
    bool has_closed;  /* a closed loop has a queue yet: see `ready_purge` */
} Exact;

typedef struct {
    PyObject *handle; /* strong: its address is no other's; NULL: it has run out of order */
    int64_t time;
    uint32_t waker[MOST_EXACT]; /* for each trace */
    bool is_from_thread;        /* another one than the loop's */
} Scheduled;

typedef struct OpenStep OpenStep;

typedef struct ExactLoop {
    struct ExactLoop *next;
    PyObject *loop;      /* its address */
    PyObject *reference; /* strong: a weak reference to it */
    Scheduled *ring;     /* a queue: what is scheduled is counted */
    uint64_t first;      /* the number of the one that comes next */
    uint32_t used, room;
    OpenStep *open;      /* the innermost one under way */
    unsigned long ident; /* the thread in which it was seen to run, 0: none */
    const void *newest;  /* of its thread's list of tasks (3.14+) */
    int64_t next_search; /* for eager tasks (until 3.13) */
    bool is_eager;       /* it may have such: a search may have come too late for one */
    uint32_t index[MOST_EXACT]; /* its number in each trace, NONE: not asked yet */
} ExactLoop;

struct OpenStep {
    OpenStep *outer;     /* in the same thread; or the next spare one */
    OpenStep *newer, *older; /* among all that are under way */
    ExactLoop *loop;     /* NULL: the traces that saw it are over */
    PyObject *task;      /* strong, or NULL: a callback */
    PyObject *callback;  /* strong */
    int64_t start, ready;
    uint32_t waker[MOST_EXACT];
    uint32_t track[MOST_EXACT]; /* of the task, NONE: not asked yet */
    uint64_t again;      /* the number of its own next step, scheduled by its last act; 0: none */
    int source;
    bool is_seen[MOST_EXACT]; /* by a trace that was there when it began */
    bool is_assumed;     /* it began before there was anybody to see it; nobody will tell of its end */
};

typedef struct {
    Exact *traces[MOST_EXACT]; /* borrowed, each in its place; NULL: free */
    int wanted;              /* how many there are */
    size_t places;           /* none is behind these */
    ExactLoop *loops;
    OpenStep *spare;     /* records that are not in use */
    OpenStep *open;      /* those that are under way, the newest first */
} Exacts;

extern Exacts exacts;
extern _Thread_local OpenStep *current_step __attribute__((tls_model("initial-exec")));

static inline int64_t
relative(const Exact *exact, int64_t time)
{
    time -= exact->pace->start;
    return time > 0 ? time : 0;
}

static inline Scheduled *
at_number(const ExactLoop *loop, uint64_t number)
{
    return &loop->ring[number & (loop->room - 1)];
}

static inline bool
begin_work(Exact *exact, int *collects)
{
    if (exact->tables->is_busy || exact->tables->failed || !exact->tasks->is_attached || exact->tasks->broken != NULL) {
        return false;
    }
    exact->tables->is_busy = true;
    *collects = PyGC_Disable(); /* else an allocation could run the program's finalizers */
    exact->tasks->walk->path.used = 0;
    return true;
}

static inline void
end_work(Exact *exact, int collects)
{
    if (collects) {
        PyGC_Enable();
    }
    exact->tables->is_busy = false;
}

#pragma GCC visibility pop
#endif
