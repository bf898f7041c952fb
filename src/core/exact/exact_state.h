/* Exact awaits: the traces that have them, the loops, and the steps under way. What is to be known of a step is added
 * to `OpenStep` while it is under way, to `Step` (step_chunks.h) when it is noted; of a trace to `Exact`. */
#ifndef FGTRACE_EXACT_EXACT_STATE_H
#define FGTRACE_EXACT_EXACT_STATE_H

#include "exact/callback_names.h"
#include "exact/garbage_collections.h"
#include "exact/step_chunks.h"
#include "tables/pace.h"
#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

#define MOST_EXACT 4 /* traces that may have exact awaits at once */
/* The track and the waker of a step: see `fgtrace._recording.step_records`. */
#define CALLBACK 0x80000000U
#define THREAD 0xFFFFFFFEU
#define NOBODY 0xFFFFFFFFU
#define SOURCE_SHIFT 24
enum { SOON, TIMER, SELECTOR, THREADSAFE };

typedef struct Exact { /* what one trace with exact awaits keeps */
    Tables *tables; /* of the same core */
    Tasks *tasks;
    const Pace *pace;
    Steps steps;
    Callbacks callbacks;
    Collections collections;
    bool is_watching; /* the interpreter tells of the steps of compiled loops, by context switches */
    bool has_closed;  /* there is a closed loop whose queue is to be freed: see `ready_purge` */
} Exact;

typedef struct {
    PyObject *handle; /* strong, so that no other handle has its address; NULL: it was run before its turn */
    int64_t time;     /* when it was scheduled */
    uint32_t waker[MOST_EXACT]; /* by the place of each trace */
    bool is_from_thread;        /* it was scheduled in another thread than the loop's */
} Scheduled;

typedef struct OpenStep OpenStep;

typedef struct ExactLoop {
    struct ExactLoop *next;
    PyObject *loop;      /* its address */
    PyObject *reference; /* strong: a weak reference to it */
    Scheduled *ring;     /* a queue: the entries are numbered in the order in which they were scheduled */
    uint64_t first;      /* the number of the entry that the loop runs next */
    uint32_t used, room;
    OpenStep *open;      /* the innermost step under way, or NULL */
    unsigned long ident; /* of the thread in which it was seen to run; 0: none */
    const void *newest;  /* the newest task in its thread's list when that was last searched (3.14+) */
    int64_t next_search; /* when eager tasks are searched for again (until 3.13) */
    bool is_eager;       /* it may have eager tasks: a search may have come too late for one */
    uint32_t index[MOST_EXACT]; /* its number in each trace; NONE: not known yet */
} ExactLoop;

struct OpenStep {
    OpenStep *outer;     /* the step around it in this thread; of a spare record, the next one */
    OpenStep *newer, *older; /* its neighbours among all that are under way */
    ExactLoop *loop;     /* NULL: the traces that saw it begin are over */
    PyObject *task;      /* strong, or NULL where it is a callback */
    PyObject *callback;  /* strong */
    int64_t start;
    int64_t ready;       /* when it was scheduled; -1: not known */
    uint32_t waker[MOST_EXACT];
    uint32_t track[MOST_EXACT]; /* the task's, in each trace; NONE: not known yet */
    uint64_t again;      /* the number of the task's own next step, which it scheduled as its last act; 0: none */
    int source;          /* of a callback: SOON, TIMER, SELECTOR or THREADSAFE */
    bool is_seen[MOST_EXACT]; /* whether each trace was there when it began */
    bool is_assumed;     /* it began before the hooks told of steps, and its end is only assumed */
};

typedef struct {
    Exact *traces[MOST_EXACT]; /* borrowed, each in its place; NULL: the place is free */
    int count;                 /* of the traces */
    size_t end;                /* no trace has this place, or one behind it */
    ExactLoop *loops;
    OpenStep *spare;     /* records that are not in use */
    OpenStep *open;      /* the steps under way, the newest first */
} ExactState;

extern ExactState exact_state;
extern _Thread_local OpenStep *current_step __attribute__((tls_model("initial-exec")));

/* Return a time of the system's clock on the trace's clock; 0 for what was before its start. */
static inline int64_t
relative(const Exact *exact, int64_t time)
{
    time -= exact->pace->start;
    return time > 0 ? time : 0;
}

/* Return the entry of a loop's queue that has a number. */
static inline Scheduled *
at_number(const ExactLoop *loop, uint64_t number)
{
    return &loop->ring[number & (loop->room - 1)];
}

/* Begin to change the tables; return false where they must not be changed now. `end_work` gets `gc_was_on` back. */
static inline bool
begin_work(Exact *exact, int *gc_was_on)
{
    if (exact->tables->is_busy || exact->tables->failed || !exact->tasks->is_attached || exact->tasks->broken != NULL) {
        return false;
    }
    exact->tables->is_busy = true;
    *gc_was_on = PyGC_Disable(); /* else an allocation could run the program's finalizers */
    exact->tasks->walk->path.used = 0;
    return true;
}

/* End what `begin_work` began. */
static inline void
end_work(Exact *exact, int gc_was_on)
{
    if (gc_was_on) {
        PyGC_Enable();
    }
    exact->tables->is_busy = false;
}

#pragma GCC visibility pop
#endif
