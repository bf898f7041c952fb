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
    PyObject *handle, *callback; /* addresses only */
    int64_t time;
    uint32_t waker[MOST_EXACT]; /* for each core */
    bool is_from_thread;        /* another one than the loop's */
} Scheduled;

typedef struct ExactLoop {
    struct ExactLoop *next;
    PyObject *loop;      /* its address */
    PyObject *reference; /* strong: a weak reference to it */
    Scheduled *ring;
    uint32_t first, used, room;
    Turn *turn;          /* the one under way */
    unsigned long ident; /* the thread in which it was seen to run, 0: none */
    const void *newest;  /* of its thread's list of tasks (3.14+), or as many as asyncio's set had */
    uint32_t index[MOST_EXACT]; /* its number in each core, NONE: not asked yet */
} ExactLoop;

struct Turn {
    Turn *outer;
    ExactLoop *loop;
    PyObject *task;      /* strong, or NULL: a callback */
    PyObject *callback;  /* strong */
    int64_t start, ready;
    uint32_t waker[MOST_EXACT];
    uint32_t track[MOST_EXACT]; /* of the task, NONE: not asked yet */
    Scheduled *again;           /* its own next step, scheduled by its last act: as of the end of this one */
    int source;
    bool is_seen[MOST_EXACT]; /* by a core that was there when it began */
    bool is_assumed;          /* it began before there was anybody to see it; nobody will tell of its end */
    bool is_over;             /* the traces that saw it are over; whoever began it may still tell of its end */
};

static Core *cores[MOST_EXACT]; /* borrowed, each in its place; NULL: free */
static int wanted;              /* how many there are */
static size_t places;           /* none is behind these */
static ExactLoop *loops;
static Turn *spare;             /* turns that are not in use */
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

static ExactLoop *
add_loop(PyObject *loop)
{
    ExactLoop *found = NULL;
    for (ExactLoop *each = loops; each != NULL && found == NULL; each = each->next) {
        found = weak_referent(each->reference) == NULL && each->turn == NULL ? each : NULL; /* it is gone */
    }
    PyObject *reference = PyWeakref_NewRef(loop, NULL);
    if (reference == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (found == NULL) {
        found = calloc(1, sizeof *found);
        if (found == NULL) {
            Py_DECREF(reference);
            return NULL;
        }
        found->next = loops;
        loops = found;
    }
    Py_XSETREF(found->reference, reference);
    found->loop = loop;
    found->first = found->used = 0;
    found->ident = 0;
    found->newest = NULL;
    memset(found->index, 0xff, sizeof found->index);
    return found;
}

static ExactLoop *
loop_of(PyObject *loop)
{
    for (ExactLoop *each = loops; each != NULL; each = each->next) {
        if (each->loop == loop && weak_referent(each->reference) == loop) {
            return each;
        }
    }
    return loop != NULL ? add_loop(loop) : NULL;
}

static uint32_t
index_in(ExactLoop *loop, size_t place)
{
    if (loop->index[place] == NONE) {
        int index = loop_index(cores[place], loop->loop);
        bool is_told = index >= 0 && (!cores[place]->tasks.loops[index].is_compiled || contexts_are_watched());
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
        for (uint32_t place = 0; place < loop->used; place++) {
            ring[place] = loop->ring[(loop->first + place) & (loop->room - 1)];
        }
        if (loop->turn != NULL && loop->turn->again != NULL) {
            uint32_t place = (uint32_t)(loop->turn->again - loop->ring);
            loop->turn->again = &ring[(place - loop->first) & (loop->room - 1)];
        }
        free(loop->ring);
        loop->ring = ring;
        loop->room = room;
        loop->first = 0;
    }
    return &loop->ring[(loop->first + loop->used++) & (loop->room - 1)];
}

static bool
take(ExactLoop *loop, const PyObject *handle, const PyObject *callback, Scheduled *found)
{
    for (uint32_t place = 0; place < loop->used && place < FARTHEST; place++) {
        const Scheduled *each = &loop->ring[(loop->first + place) & (loop->room - 1)];
        if (each->handle == handle && each->callback == callback) {
            *found = *each;
            loop->first = (loop->first + place + 1) & (loop->room - 1);
            loop->used -= place + 1;
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

void
exact_scheduled(PyObject *loop, PyObject *handle)
{
    ExactLoop *found = loop_of(loop);
    Scheduled *scheduled = found != NULL ? push(found) : NULL;
    if (scheduled == NULL) {
        return;
    }
    PyObject *callback = handle_slot(handle, asyncio.callback);
    PyObject *task = callback != NULL && Py_TYPE(callback) == asyncio.step ? handle_task(callback) : NULL;
    *scheduled = (Scheduled){handle, callback, 0, {NOBODY, NOBODY, NOBODY, NOBODY}, false};
    if (task != NULL && current != NULL && current->task == task && found == current->loop) {
        current->again = scheduled; /* a bare yield: nothing to find out, and the time is read at the end anyway */
        return;
    }
    scheduled->time = now_ns();
    scheduled->is_from_thread = is_from_thread(found);
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

static void
note_callback(size_t place, const Turn *turn, Step *step)
{
    uint32_t index = index_in(turn->loop, place);
    if (index != NONE && turn->callback != asyncio.nothing) {
        step->track = CALLBACK | index;
        step->stack = callbacks_number(cores[place], turn->callback);
        step->detail = (uint32_t)turn->source;
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
        PyObject *task = weak_referent(record->reference);
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

static Turn *
new_turn(void)
{
    Turn *turn = spare;
    if (turn != NULL) {
        spare = turn->outer;
        return turn;
    }
    return malloc(sizeof *turn); /* not on the stack: a greenlet may have its part of that elsewhere meanwhile */
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
free_turn(Turn *turn)
{
    PyObject *task = turn->task, *callback = turn->callback;
    turn->outer = spare;
    spare = turn;
    Py_XDECREF(task); /* last: it may run the program's code */
    Py_XDECREF(callback);
}

static void
note_in_all(Turn *turn, int64_t end)
{
    if (turn->loop != NULL) {
        turn->loop->turn = NULL;
        for (size_t place = 0; place < places; place++) {
            if (cores[place] != NULL && turn->is_seen[place]) {
                note(place, turn, end);
            }
        }
    }
}

/* The step of this thread that was assumed is over, for another begins. */
static void
end_assumed(int64_t now)
{
    Turn *turn = current;
    while (turn != NULL && turn->is_over && !turn->is_assumed) { /* its own end frees it */
        turn = current = turn->outer;
    }
    if (turn != NULL && turn->is_assumed) {
        current = turn->outer;
        note_in_all(turn, now);
        free_turn(turn);
    }
}

Core *
exact_core(size_t place)
{
    return cores[place];
}

/* A task of a loop with handles of its own is stepped: nothing is known of who scheduled it. */
Turn *
exact_enter_task(PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    ExactLoop *loop = loop_of(task_loop(task));
    Turn *turn = loop != NULL ? new_turn() : NULL;
    if (turn == NULL) {
        return NULL;
    }
    *turn = (Turn){.outer = current, .loop = loop, .task = Py_NewRef(task), .start = now, .ready = -1,
                   .waker = {NOBODY, NOBODY, NOBODY, NOBODY}, .track = {NONE, NONE, NONE, NONE}};
    for (size_t place = 0; place < places; place++) {
        turn->is_seen[place] = cores[place] != NULL;
        if (cores[place] != NULL) {
            end_first_steps(place, index_in(loop, place), now);
        }
    }
    loop->turn = current = turn;
    loop->ident = PyThread_get_thread_ident();
    return turn;
}

Turn *
exact_enter(PyObject *handle, PyObject *task)
{
    int64_t now = now_ns();
    end_assumed(now);
    Turn *turn = new_turn();
    if (turn == NULL) {
        return NULL;
    }
    ExactLoop *loop = loop_of(handle_slot(handle, asyncio.loop));
    PyObject *callback = handle_slot(handle, asyncio.callback);
    *turn = (Turn){.outer = current, .loop = loop, .start = now, .ready = -1};
    turn->task = Py_XNewRef(task);
    turn->callback = Py_XNewRef(callback);
    memset(turn->track, 0xff, sizeof turn->track);
    if (loop != NULL) {
        Scheduled scheduled;
        bool was_scheduled = take(loop, handle, callback, &scheduled);
        turn->source = source_of(handle, was_scheduled);
        for (size_t place = 0; place < places; place++) {
            turn->waker[place] = was_scheduled ? scheduled.waker[place] : turn->source == FROM_THREAD ? THREAD : NOBODY;
            turn->is_seen[place] = cores[place] != NULL;
            if (cores[place] != NULL) {
                end_first_steps(place, index_in(loop, place), now);
            }
        }
        if (was_scheduled) {
            turn->ready = scheduled.time;
            turn->source = scheduled.is_from_thread ? FROM_THREAD : SOON;
        }
        loop->turn = turn;
        loop->ident = PyThread_get_thread_ident();
    }
    current = turn;
    return turn;
}

/* Tasks that began within a step, and wait where it ends: no handle of theirs has run. */
static void
find_eager(const Turn *turn, int64_t end)
{
    for (size_t place = 0; place < places; place++) {
        Core *core = cores[place];
        int collects;
        if (core == NULL || !tasks_may_be_new(core, turn->loop->loop, &turn->loop->newest) ||
            !begin_work(core, &collects)) {
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
        end_work(core, collects);
    }
}

/* Find tasks that were made in this thread since it was asked last; false where there are none. */
bool
exact_discover(void)
{
    static _Thread_local const void *newest;
    bool is_any = false;
    for (size_t place = 0; place < places; place++) {
        Core *core = cores[place];
        int collects;
        if (core != NULL && (is_any || tasks_may_be_new(core, NULL, &newest)) && begin_work(core, &collects)) {
            is_any = true;
            tasks_discover_here(core, relative(core, now_ns()));
            end_work(core, collects);
        }
    }
    return is_any;
}

void
exact_leave(Turn *turn)
{
    int64_t end = now_ns();
    PyObject *error = PyErr_Occurred() ? take_exception() : NULL;
    if (current == turn) {
        current = turn->outer;
    }
    note_in_all(turn, end);
    if (turn->loop != NULL) {
        find_eager(turn, end);
    }
    if (turn->again != NULL && turn->loop != NULL) {
        turn->again->time = end;
        memcpy(turn->again->waker, turn->track, sizeof turn->track);
    }
    free_turn(turn);
    if (error != NULL) {
        put_exception(error);
    }
}

/* --- a tick --- */

static void
end_closed(Core *core, ExactLoop *loop, int64_t now)
{
    PyObject *alive = weak_referent(loop->reference);
    PyObject *closed = alive != NULL ? attribute(alive, "_closed") : NULL;
    for (size_t place = 0; place < places && (alive == NULL || closed == Py_True); place++) {
        if (cores[place] == core && loop->index[place] != NONE && !core->tasks.loops[loop->index[place]].is_ended) {
            core->tasks.loops[loop->index[place]].is_ended = true;
            tables_note(&core->tables, NOTE_EXACT, loop->index[place], now, 1, NULL);
        }
    }
    Py_XDECREF(closed);
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
exact_begin(Core *core, const char *folder, size_t most_bytes)
{
    size_t place = 0;
    while (place < MOST_EXACT && cores[place] != NULL) {
        place++;
    }
    Exact *exact = place < MOST_EXACT ? chunks_new(folder, most_bytes) : NULL;
    if (exact == NULL) {
        return false;
    }
    core->exact = exact;
    cores[place] = core;
    places = place + 1 > places ? place + 1 : places;
    wanted++;
    for (ExactLoop *loop = loops; loop != NULL; loop = loop->next) {
        loop->index[place] = NONE;
        if (loop->turn != NULL) { /* under way: for this trace it begins now */
            loop->turn->is_seen[place] = true;
            loop->turn->waker[place] = NOBODY;
        }
        for (uint32_t each = 0; each < loop->used; each++) { /* scheduled before this trace */
            loop->ring[(loop->first + each) & (loop->room - 1)].waker[place] = NOBODY;
        }
    }
    return true;
}

/* A trace is begun in the middle of a step of which nobody told. */
void
exact_assume(PyObject *loop, PyObject *task)
{
    ExactLoop *found = current == NULL ? loop_of(loop) : NULL;
    Turn *turn = found != NULL && found->turn == NULL ? new_turn() : NULL;
    if (turn == NULL) {
        return;
    }
    *turn = (Turn){.loop = found, .task = Py_NewRef(task), .ready = -1, .is_assumed = true,
                   .waker = {NOBODY, NOBODY, NOBODY, NOBODY}, .track = {NONE, NONE, NONE, NONE}};
    for (size_t place = 0; place < places; place++) {
        turn->is_seen[place] = cores[place] != NULL;
        if (cores[place] != NULL && index_in(found, place) != NONE) {
            cores[place]->tasks.loops[found->index[place]].is_begun = true;
        }
    }
    found->turn = current = turn;
}

/* A core is gone; with the last one all that is known of loops. */
static void
settle_places(void)
{
    while (places > 0 && cores[places - 1] == NULL) {
        places--;
    }
    if (wanted == 0) {
        for (ExactLoop **link = &loops; *link != NULL;) {
            ExactLoop *loop = *link;
            *link = loop->next;
            if (loop->turn != NULL) { /* whoever began it still has it; an assumed one goes at its thread's next turn */
                loop->turn->loop = NULL;
                loop->turn->is_over = true;
                Py_CLEAR(loop->turn->task);
            }
            Py_DECREF(loop->reference);
            free(loop->ring);
            free(loop);
        }
    }
}

/* The trace is over: what is under way ends with it. */
void
exact_end(Core *core, int64_t now)
{
    for (size_t place = 0; place < places; place++) {
        if (cores[place] != core) {
            continue;
        }
        for (ExactLoop *loop = loops; loop != NULL; loop = loop->next) {
            Turn *turn = loop->turn;
            if (turn == NULL || !turn->is_seen[place]) {
                continue;
            }
            turn->is_seen[place] = false;
            const Task *record = turn->task != NULL ? tasks_find(&core->tasks, turn->task) : NULL;
            Step step = {relative(core, turn->start), now, turn->ready < 0 ? -1 : relative(core, turn->ready),
                         0, turn->waker[place], 0, 0};
            if (record != NULL && record->track != NONE) {
                step.track = record->track;
                step.stack = (uint32_t)record->stack;
                chunks_keep(core, &step);
            }
            else if (turn->task == NULL) {
                note_callback(place, turn, &step);
            }
            if (turn->is_assumed && turn == current) {
                current = turn->outer;
                loop->turn = NULL;
                free_turn(turn);
            }
        }
        cores[place] = NULL;
        wanted--;
    }
    settle_places();
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

