/* Exact awaits: when each step of a task and each callback of a loop began and ended, when it was scheduled, and by
 * whom. handles.c tells of both ends of a turn and of each handle that is scheduled; the twin is
 * `fgtrace._collect._exact`, which tells the reasons.
 *
 * What is scheduled goes into a queue of its loop, in the order in which the loop will run it; what runs is taken
 * out, with what lies before it: cancelled handles, which a loop passes over. A handle that is not in there comes
 * from the selector or from a timer.
 *
 * chunks.c keeps the steps.
 */
#include "core.h"

#define FARTHEST 64    /* places of the queue in which a handle is looked for */
#define MOST_ASKS 1000 /* questions that wait for Python; more are not put */

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

static Core *cores[MOST_EXACT]; /* borrowed, each in its place; NULL: free */
static int wanted;              /* how many there are */
static size_t places;           /* none is behind these */
static ExactLoop *loops;
static Turn *spare;             /* turns that are not in use */
static Turn *turns;             /* those that are under way, the newest first */
static _Thread_local Turn *current __attribute__((tls_model("initial-exec")));

bool
exact_is_wanted(void)
{
    return wanted > 0;
}

/* --- loops and what they are to run --- */

static int64_t
relative(Core *core, int64_t time)
{
    time -= clock_pace(core->clock)->start;
    return time > 0 ? time : 0;
}

static Scheduled *
at_number(const ExactLoop *loop, uint64_t number)
{
    return &loop->ring[number & (loop->room - 1)];
}

/* The loop's queue is of no use any more; the program's code may run. */
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

/* A loop was closed, or is gone: say so in each core that knows it. */
static void
note_end(const ExactLoop *loop, size_t place, int64_t now)
{
    if (cores[place] != NULL && loop->index[place] != NONE) {
        Loop *known = &cores[place]->tasks.loops[loop->index[place]];
        if (!known->is_ended) {
            known->is_ended = true;
            tables_note(&cores[place]->tables, NOTE_EXACT, loop->index[place], now, 1, NULL);
        }
    }
}

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
    found->next = loops;
    loops = found;
    return found;
}

/* Forget loops that are gone. */
static void
sweep_loops(void)
{
    for (ExactLoop **link = &loops; *link != NULL;) {
        ExactLoop *loop = *link;
        if (weak_referent(loop->reference) != NULL || loop->turn != NULL) {
            link = &loop->next;
            continue;
        }
        for (size_t place = 0; place < places; place++) {
            if (cores[place] != NULL) {
                note_end(loop, place, relative(cores[place], now_ns()));
            }
        }
        *link = loop->next;
        empty(loop);
        Py_DECREF(loop->reference);
        free(loop->ring);
        free(loop);
        return; /* the program's code may have run: another one, another time */
    }
}

static ExactLoop *
loop_of(PyObject *loop)
{
    for (ExactLoop *each = loops; each != NULL; each = each->next) {
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

static uint32_t
index_in(ExactLoop *loop, size_t place)
{
    if (loop->index[place] == NONE) {
        int index = loop_index(cores[place], loop->loop);
        bool is_told = index >= 0 && (!cores[place]->tasks.loops[index].is_compiled || cores[place]->exact->is_watching);
        if (is_told) {
            loop->index[place] = (uint32_t)index;
            cores[place]->tasks.loops[index].is_exact = true;
            Core *core = cores[place];
            int64_t since = core->exact->count > 0 || core->last_look > 0 ? relative(core, now_ns()) : 0;
            tables_note(&core->tables, NOTE_EXACT, (uint32_t)index, since, 0, NULL);
        }
    }
    return loop->index[place];
}

static Scheduled *
push(ExactLoop *loop)
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

/* Whether an entry will not be run any more: cancelled, already taken, or in no queue but ours. */
static bool
is_idle(const Scheduled *each)
{
    return each->handle == NULL || Py_REFCNT(each->handle) == 1 ||
           handle_slot(each->handle, asyncio.cancelled) == Py_True;
}

/* Take a handle out that is about to run: it is the next one, where the loop goes by the order; else it is looked
 * for among the next ones. */
static bool
take(ExactLoop *loop, const PyObject *handle, Scheduled *found)
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
            Py_DECREF(found->handle); /* whoever runs it has it */
            return true;
        }
    }
    return false;
}

static bool
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

static void
end_work(Core *core, int collects)
{
    if (collects) {
        PyGC_Enable();
    }
    core->is_looking = false;
}

/* The record of the task whose turn it is, with its track, or NULL. */
static Task *
known(Core *core, const Turn *turn)
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

static void
know(const Turn *turn)
{
    for (size_t place = 0; place < places; place++) {
        int collects;
        if (cores[place] != NULL && begin_work(cores[place], &collects)) {
            known(cores[place], turn);
            end_work(cores[place], collects);
        }
    }
}

/* Who schedules something now, as a core's numbers say it. */
static uint32_t
waker_in(size_t place)
{
    Turn *turn = current;
    if (turn == NULL || turn->loop == NULL) {
        return NOBODY;
    }
    if (turn->task == NULL) {
        uint32_t index = index_in(turn->loop, place);
        return index == NONE ? NOBODY : CALLBACK | (uint32_t)turn->source << 24 | index;
    }
    if (turn->track[place] == NONE) {
        const Task *record = known(cores[place], turn);
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
static void
begun(Core *core, Task *record, uint32_t creator, int64_t now)
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
    Core *core = cores[place];
    int collects;
    if (tasks_find(&core->tasks, task) != NULL || !begin_work(core, &collects)) {
        return;
    }
    Task *record = tasks_add(core, task, NULL, relative(core, now));
    if (record != NULL && record->track != NONE) {
        begun(core, record, creator, relative(core, now));
    }
    end_work(core, collects);
}

/* When it was, and who did it. */
static void
note_scheduled(ExactLoop *loop, Scheduled *scheduled, PyObject *task)
{
    scheduled->time = now_ns();
    scheduled->is_from_thread = is_from_thread(loop);
    for (size_t place = 0; place < places; place++) {
        int collects;
        if (cores[place] != NULL && begin_work(cores[place], &collects)) {
            bool is_outside = current == NULL || current->loop == NULL;
            scheduled->waker[place] = is_outside && scheduled->is_from_thread ? THREAD : waker_in(place);
            end_work(cores[place], collects);
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
    ExactLoop *found = loop_of(loop);
    Scheduled *scheduled = found != NULL ? push(found) : NULL;
    if (scheduled != NULL) {
        uint64_t number = found->first + found->used - 1;
        PyObject *callback = handle_slot(handle, asyncio.callback);
        PyObject *task = callback != NULL && Py_TYPE(callback) == asyncio.step ? handle_task(callback) : NULL;
        *scheduled = (Scheduled){Py_NewRef(handle), 0, {NOBODY, NOBODY, NOBODY, NOBODY}, false};
        if (task != NULL && current != NULL && current->task == task && found == current->loop) {
            current->again = number; /* a bare yield: the time is read at the end anyway */
        }
        else {
            note_scheduled(found, scheduled, task);
        }
    }
    if (collects) {
        PyGC_Enable();
    }
}

/* --- turns --- */

static void
step_of_task(Core *core, Task *record, PyObject *task, Step *step)
{
    PyObject *waiter = tasks_field(task, core->tasks.at.waiter), *coro = tasks_field(task, core->tasks.at.coro);
    tasks_rename(core, record, task, !(record->flags & TASK_HAS_STEPPED));
    record->flags |= TASK_HAS_STEPPED;
    if (waiter == NULL && (coro == NULL || future_state(&core->tasks, task) != 0)) {
        tables_note(&core->tables, NOTE_END, record->track, step->end, 0, NULL);
        step->stack = (uint32_t)GONE;
        return;
    }
    AskKind ask = ASK_KINDS;
    record->stack = tasks_chain(core, record, task, waiter, step->end, &record->detail, &ask);
    step->stack = (uint32_t)record->stack;
    step->detail = record->detail;
    if (ask != ASK_KINDS && core->tasks.asks.used < MOST_ASKS) {
        tasks_note_waiter(&core->tasks, record, waiter); /* the question goes by it */
        Ask *asked = put_question(core, record, ask, NULL);
        if (asked != NULL) {
            asked->row = core->exact->count | STEP_ROW;
            asked->time = step->end;
        }
    }
}

static void
note_task(size_t place, Turn *turn, Step *step)
{
    Core *core = cores[place];
    Task *record = known(core, turn);
    if (record == NULL || record->track == NONE || (record->flags & TASK_DONE)) {
        return;
    }
    step->track = record->track;
    turn->track[place] = record->track;
    step_of_task(core, record, turn->task, step);
    chunks_keep(core, step);
    if (step->stack == (uint32_t)GONE) {
        tasks_forget(&core->tasks, record);
    }
}

/* Say of a step which callback it was; false where that is not to be noted. */
static bool
is_callback(size_t place, const Turn *turn, Step *step)
{
    uint32_t index = index_in(turn->loop, place);
    if (index == NONE || turn->callback == asyncio.nothing) {
        return false;
    }
    step->track = CALLBACK | index;
    step->stack = callbacks_number(cores[place], turn->callback);
    step->detail = (uint32_t)turn->source;
    return true;
}

static void
note_callback(size_t place, const Turn *turn, Step *step)
{
    if (is_callback(place, turn, step)) {
        chunks_keep(cores[place], step);
    }
}

static void
note(size_t place, Turn *turn, int64_t end)
{
    Core *core = cores[place];
    int collects;
    if (!begin_work(core, &collects)) {
        core->exact->lost++;
        return;
    }
    Step step = {.start = relative(core, turn->start),
                 .end = relative(core, end),
                 .ready = turn->ready < 0 ? -1 : relative(core, turn->ready),
                 .waker = turn->waker[place]};
    if (turn->task != NULL) {
        note_task(place, turn, &step);
    }
    else {
        note_callback(place, turn, &step);
    }
    end_work(core, collects);
}

static PyObject * /* borrowed, or NULL */
task_loop(PyObject *task)
{
    for (size_t place = 0; place < places; place++) {
        if (cores[place] != NULL && cores[place]->tasks.is_attached) {
            return tasks_field(task, cores[place]->tasks.at.loop);
        }
    }
    return NULL;
}

/* The tasks of a loop that were in a step when the trace began: its end was seen by nobody, but it was just now,
 * before the first handle that we see. */
static void
end_first_steps(size_t place, uint32_t index, int64_t now)
{
    Core *core = cores[place];
    int collects;
    if (index == NONE || core->tasks.loops[index].is_begun || !begin_work(core, &collects)) {
        return;
    }
    core->tasks.loops[index].is_begun = true;
    for (size_t item = 0; item < core->tasks.used; item++) {
        Task *record = tasks_at(&core->tasks, item);
        PyObject *task = task_of(record);
        bool was_running = record->loop == index && record->detail == 0 && record->track != NONE;
        if (task != NULL && was_running && !(record->flags & (TASK_HAS_STEPPED | TASK_DONE))) {
            Step step = {.start = 0, .end = relative(core, now), .ready = -1, .track = record->track, .waker = NOBODY};
            step_of_task(core, record, task, &step);
            chunks_keep(core, &step);
            if (step.stack == (uint32_t)GONE) {
                record->flags |= TASK_DONE;
            }
        }
    }
    end_work(core, collects);
}

/* A turn begins in this thread. Not on the stack: a greenlet may have its part of that elsewhere meanwhile. */
static Turn *
begin_turn(ExactLoop *loop, PyObject *task, PyObject *callback, int64_t now)
{
    Turn *turn = spare;
    if (turn != NULL) {
        spare = turn->outer;
    }
    else if ((turn = malloc(sizeof *turn)) == NULL) {
        return NULL;
    }
    *turn = (Turn){.outer = current, .older = turns, .loop = loop, .start = now, .ready = -1,
                   .task = Py_XNewRef(task), .callback = Py_XNewRef(callback),
                   .waker = {NOBODY, NOBODY, NOBODY, NOBODY}, .track = {NONE, NONE, NONE, NONE}};
    if (turns != NULL) {
        turns->newer = turn;
    }
    turns = current = loop->turn = turn;
    loop->ident = PyThread_get_thread_ident();
    for (size_t place = 0; place < places; place++) {
        turn->is_seen[place] = cores[place] != NULL;
    }
    return turn;
}

/* Take a turn out of all lists; turns of greenlets need not nest. The program's code may run. */
static void
end_turn(Turn *turn)
{
    for (Turn **link = &current; *link != NULL; link = &(*link)->outer) {
        if (*link == turn) {
            *link = turn->outer;
            break;
        }
    }
    *(turn->newer != NULL ? &turn->newer->older : &turns) = turn->older;
    if (turn->older != NULL) {
        turn->older->newer = turn->newer;
    }
    if (turn->loop != NULL && turn->loop->turn == turn) {
        Turn *other = turns;
        while (other != NULL && other->loop != turn->loop) {
            other = other->older;
        }
        turn->loop->turn = other;
    }
    PyObject *task = turn->task, *callback = turn->callback;
    *turn = (Turn){.outer = spare};
    spare = turn;
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

static void
note_in_all(Turn *turn, int64_t end)
{
    for (size_t place = 0; place < places && turn->loop != NULL; place++) {
        if (cores[place] != NULL && turn->is_seen[place]) {
            note(place, turn, end);
        }
    }
}

/* The step of this thread that was assumed is over, for another begins. */
static void
end_assumed(int64_t now)
{
    Turn *turn = current;
    if (turn != NULL && turn->is_assumed) {
        note_in_all(turn, now);
        end_turn(turn);
    }
}

static void
end_all_first_steps(ExactLoop *loop, int64_t now)
{
    for (size_t place = 0; place < places; place++) {
        if (cores[place] != NULL) {
            end_first_steps(place, index_in(loop, place), now);
        }
    }
}

/* A task of a loop with handles of its own is stepped: nothing is known of who scheduled it. */
Turn *
exact_enter_task(PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    int collects = PyGC_Disable();
    ExactLoop *loop = loop_of(task_loop(task));
    Turn *turn = NULL;
    if (loop != NULL) {
        end_all_first_steps(loop, now);
        turn = begin_turn(loop, task, NULL, now);
        for (size_t place = 0; turn != NULL && place < places; place++) {
            turn->is_seen[place] &= cores[place] != NULL && cores[place]->exact->is_watching;
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
    ExactLoop *loop = loop_of(handle_slot(handle, asyncio.loop));
    Turn *turn = NULL;
    if (loop != NULL) {
        Scheduled scheduled;
        bool was_scheduled = !PyObject_TypeCheck(handle, asyncio.timer) && take(loop, handle, &scheduled);
        end_all_first_steps(loop, now);
        turn = begin_turn(loop, task, handle_slot(handle, asyncio.callback), now);
        if (turn != NULL) {
            turn->source = source_of(handle, was_scheduled);
            if (was_scheduled) {
                turn->ready = scheduled.time;
                turn->source = scheduled.is_from_thread ? FROM_THREAD : SOON;
                memcpy(turn->waker, scheduled.waker, sizeof turn->waker);
            }
            for (size_t place = 0; turn->source == FROM_THREAD && !was_scheduled && place < places; place++) {
                turn->waker[place] = THREAD;
            }
            if (task != NULL && loop->is_eager) {
                know(turn); /* now: if it ends with this step, there is no more to be known of it afterwards */
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
    for (size_t place = 0; place < places; place++) {
        Core *core = cores[place];
        int collects;
        if (core == NULL || !begin_work(core, &collects)) {
            continue;
        }
        size_t first = core->tasks.used;
        tasks_discover_here(core, relative(core, end));
        for (size_t item = first; item < core->tasks.used; item++) {
            Task *record = tasks_at(&core->tasks, item);
            if (record->track != NONE && !(record->flags & TASK_DONE)) {
                begun(core, record, turn->track[place], relative(core, end));
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
    for (size_t place = 0; place < places; place++) {
        Core *core = cores[place];
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
    note_in_all(turn, end);
    if (loop != NULL && wanted > 0) {
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

Core *
exact_core(size_t place)
{
    return cores[place];
}

/* --- a tick --- */

static void
end_closed(Core *core, const ExactLoop *loop, int64_t now)
{
    PyObject *alive = weak_referent(loop->reference);
    PyObject *closed = alive != NULL ? attribute(alive, "_closed") : NULL;
    for (size_t place = 0; place < places && (alive == NULL || closed == Py_True); place++) {
        if (cores[place] == core) {
            note_end(loop, place, now);
        }
    }
    core->exact->has_closed |= (alive == NULL || closed == Py_True) && loop->used > 0;
    Py_XDECREF(closed);
}

/* Give back what closed loops would have run; not within a tick, for the program's code may run. */
void
exact_purge(Core *core)
{
    core->exact->has_closed = false;
    for (ExactLoop *loop = loops; loop != NULL; loop = loop->next) {
        PyObject *alive = weak_referent(loop->reference);
        PyObject *closed = alive != NULL && loop->used > 0 ? attribute(alive, "_closed") : NULL;
        bool is_closed = closed == Py_True;
        Py_XDECREF(closed);
        if (is_closed) {
            empty(loop);
            return; /* the list may be another by now; the next tick comes */
        }
    }
    sweep_loops();
}

/* Look at the tasks that are in a step, whose frames the ticks show, and at a few others, which may be gone. */
void
exact_look(Core *core, int64_t now)
{
    for (ExactLoop *loop = loops; loop != NULL; loop = loop->next) {
        end_closed(core, loop, now);
        PyObject *task = loop->turn != NULL ? loop->turn->task : NULL;
        Task *record = task != NULL ? tasks_find(&core->tasks, task) : NULL;
        if (record != NULL) {
            record->stack = GONE; /* what the last step showed is no longer so: a row is due */
            tasks_look_at(core, record, true, now);
        }
    }
    steps_in_turn(core, now);
}

/* --- life --- */

bool
exact_begin(Core *core, const char *folder, size_t most_bytes, bool is_watching)
{
    size_t place = 0;
    while (place < MOST_EXACT && cores[place] != NULL) {
        place++;
    }
    Exact *exact = place < MOST_EXACT ? chunks_new(folder, most_bytes) : NULL;
    if (exact == NULL) {
        return false;
    }
    exact->is_watching = is_watching;
    core->exact = exact;
    cores[place] = core;
    places = place + 1 > places ? place + 1 : places;
    wanted++;
    for (ExactLoop *loop = loops; loop != NULL; loop = loop->next) {
        loop->index[place] = NONE;
        for (uint32_t each = 0; each < loop->used; each++) { /* scheduled before this trace */
            at_number(loop, loop->first + each)->waker[place] = NOBODY;
        }
    }
    for (Turn *turn = turns; turn != NULL; turn = turn->older) { /* under way: for this trace it begins now */
        turn->is_seen[place] = turn->loop != NULL;
        turn->waker[place] = NOBODY;
        turn->track[place] = NONE;
    }
    return true;
}

/* A trace is begun in the middle of a step of which nobody told, or whose trace is over. */
void
exact_assume(PyObject *loop, PyObject *task)
{
    contexts_catch_up();
    Turn *turn = current;
    if (turn != NULL && turn->loop != NULL) {
        return; /* it is known */
    }
    if (turn != NULL && turn->is_assumed) {
        end_turn(turn);
        turn = NULL;
    }
    ExactLoop *found = loop_of(loop);
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
    for (size_t place = 0; place < places; place++) {
        turn->is_seen[place] = cores[place] != NULL;
        if (cores[place] != NULL && index_in(found, place) != NONE) {
            cores[place]->tasks.loops[found->index[place]].is_begun = true;
        }
    }
}

/* The program's code may run. */
static void
free_loops(ExactLoop *dead)
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

/* A core is gone; with the last one all that is known of loops. */
static void
settle_places(void)
{
    while (places > 0 && cores[places - 1] == NULL) {
        places--;
    }
    if (wanted > 0) {
        return;
    }
    ExactLoop *dead = loops;
    loops = NULL; /* first: what follows may run the program's code */
    for (Turn *turn = turns; turn != NULL; turn = turn->older) {
        turn->loop = NULL;
        turn->again = 0;
    }
    for (Turn *turn = turns; turn != NULL;) {
        PyObject *task = turn->loop == NULL ? turn->task : NULL, *callback = turn->loop == NULL ? turn->callback : NULL;
        if (task == NULL && callback == NULL) {
            turn = turn->older;
            continue;
        }
        turn->task = turn->callback = NULL;
        Py_XDECREF(task);
        Py_XDECREF(callback);
        turn = turns; /* anything may have changed */
    }
    free_loops(dead);
}

/* A step that is under way, as if it ended now; false where there is nothing to say of it. */
static bool
so_far(Core *core, size_t place, const Turn *turn, int64_t now, Step *step)
{
    if (turn->loop == NULL || !turn->is_seen[place]) {
        return false;
    }
    *step = (Step){.start = relative(core, turn->start),
                   .end = now,
                   .ready = turn->ready < 0 ? -1 : relative(core, turn->ready),
                   .waker = turn->waker[place]};
    if (turn->task == NULL) {
        return is_callback(place, turn, step);
    }
    const Task *record = tasks_find(&core->tasks, turn->task);
    if (record == NULL || record->track == NONE) {
        return false;
    }
    step->track = record->track;
    step->stack = (uint32_t)record->stack;
    return true;
}

/* The trace is over: what is under way ends with it. */
void
exact_end(Core *core, int64_t now)
{
    for (size_t place = 0; place < places; place++) {
        if (cores[place] != core) {
            continue;
        }
        for (Turn *turn = turns; turn != NULL; turn = turn->older) {
            Step step;
            if (so_far(core, place, turn, now, &step)) {
                chunks_keep(core, &step);
            }
            turn->is_seen[place] = false;
        }
        cores[place] = NULL;
        wanted--;
    }
    settle_places();
}

/* The steps that are under way (bytes), as if they ended now. */
PyObject *
exact_under_way(Core *core, int64_t now)
{
    Array found = {0};
    int collects = PyGC_Disable(); /* else the program's finalizers could begin turns meanwhile */
    for (size_t place = 0; place < places; place++) {
        for (const Turn *turn = cores[place] == core ? turns : NULL; turn != NULL; turn = turn->older) {
            Step step, *kept = so_far(core, place, turn, now, &step) ? array_push(&found, sizeof step) : NULL;
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
    memset(cores, 0, sizeof cores);
    wanted = 0;
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

