/* The tables of functions, stacks, rows and notes. A new kind of note is added to `NoteKind` and its table below, to
 * python/constants.c, and to `fgtrace._recording.core_recording`, which reads it. */
#ifndef FGTRACE_TABLES_TABLES_H
#define FGTRACE_TABLES_TABLES_H

#include "cpython/version_compat.h"
#include "tables/arrays.h"

#pragma GCC visibility push(hidden)

/* Stacks that are no node of the tree, or a special one: EMPTY is the root; GONE says that the track ends; AS_IT_IS,
 * in an answer, that the stack was right. */
enum { EMPTY = 0, GONE = -1, AS_IT_IS = -2 };
/* The detail of a task's row: the task runs, or waits for its turn; any other number is that of a waiter. */
enum { RUNNING, RUNNABLE, FIRST_WAITER };
enum { GAP_LATE, GAP_SKIPPED }; /* why ticks are missing */
#define OFFSET_BITS 24
#define ROWS_A_CHUNK 4096
#define NOTES_A_CHUNK 1024

/* What is known of a function by its code object; Python tells all but the last, in `mark_code`. */
enum {
    CODE_PLAIN = 1,         /* it awaits a future of its own making: there is nothing to find out */
    CODE_HOLDS_FUTURES = 2, /* it holds the futures for which it waits, as `asyncio.wait` */
    CODE_CHAIN = 4,         /* a done-callback: the future is the one of a thread's job */
    CODE_SHIELD = 8,        /* a done-callback: the future is the outer one of `asyncio.shield` */
    CODE_SPAWNER = 16,      /* it awaits what a greenlet does */
};

typedef struct {
    PyCodeObject *code; /* strong */
    PyObject *module;   /* strong: the ``__name__`` of its globals, or None */
    uint32_t flags;
} Code;

typedef struct { /* Python reads it by ROW_FORMAT */
    int64_t time, track, stack, detail;
} Row;

#define ROW_FORMAT "qqqq"
_Static_assert(sizeof(Row) == 32 && offsetof(Row, detail) == 24, "rows are read by ROW_FORMAT");

typedef struct Chunk {
    struct Chunk *next;
    size_t used;
    Row rows[ROWS_A_CHUNK];
} Chunk;

/* What happened besides rows, in order. `python/drain.c` makes tuples of it, for `fgtrace._recording.core_recording`.
 * The fields of a note mean something else in each kind; a field that has no entry here is 0 or NULL.
 *
 * kind              track        time          number                  name             others
 * NOTE_THREAD       its track    its start     the native id
 * NOTE_TASK         its track    its start     the index of its loop   its name, or     root: its coroutine's name
 *                                              | default number << 16  NULL
 * NOTE_NAME         whose track                1: no earlier name      its new name
 *                                              counts
 * NOTE_END          whose track  its end
 * NOTE_PARENT       whose track                the parent's track
 * NOTE_LOOP         loop's index                                       its class
 * NOTE_LOOP_THREAD  loop's index                                       its thread's
 * NOTE_WAITER       its number   the track of  its kind                its class
 *                                the awaited
 *                                task, or -1
 * NOTE_GAP          GAP_LATE or  its start     its end                                  ticks: how many are missing
 *                   GAP_SKIPPED
 * NOTE_EXACT        loop's index when          0: its steps are noted
 *                                              from then on, 1: until
 * NOTE_CALLBACK     its number                 the index of its code,  the callable's,
 *                                              or -1: it is of C       where it is of C
 */
typedef enum {
    NOTE_THREAD,
    NOTE_TASK,
    NOTE_NAME,
    NOTE_END,
    NOTE_PARENT,
    NOTE_LOOP,
    NOTE_LOOP_THREAD,
    NOTE_WAITER,
    NOTE_GAP,
    NOTE_EXACT,
    NOTE_CALLBACK,
} NoteKind;

typedef struct {
    int64_t time, number;
    PyObject *name, *root; /* strong, or NULL */
    uint32_t track;
    unsigned ticks : 24, kind : 8;
} Note;

typedef struct NoteChunk {
    struct NoteChunk *next;
    size_t used;
    Note notes[NOTES_A_CHUNK];
} NoteChunk;

typedef struct {
    Code *codes;
    size_t codes_used, codes_room;
    Index code_index;
    Code *marks;
    size_t marks_used, marks_room;
    Index mark_index;
    uint32_t *parents;
    uint64_t *elements;
    size_t nodes_used, nodes_room, most_nodes;
    Index node_index;
    Chunk *first, *last;
    uint64_t rows_drained, rows_used;
    int64_t last_time; /* of the last row */
    NoteChunk *first_note, *last_note;
    Array counters; /* of int64_t[3]: a time, the index of a loop, how many handles are ready in it */
    uint32_t tracks, waiters; /* the next numbers */
    uint64_t cut; /* how often the tree was too full for a stack */
    bool failed; /* there was no memory: nothing more is noted */
    /* the tables are being changed: what comes in between, as a finalizer or a signal handler, must note nothing */
    bool is_busy;
    bool has_spawner; /* a greenlet was seen: await chains do not show its frames */
} Tables;

bool tables_begin(Tables *tables, size_t most_nodes);
void tables_free(Tables *tables);
void tables_mark(Tables *tables, PyCodeObject *code, uint32_t flags);
uint32_t tables_marked(Tables *tables, PyCodeObject *code);
uint32_t tables_code(Tables *tables, PyCodeObject *code, PyObject *globals);
int32_t tables_stack(Tables *tables, const uint64_t *root_first, size_t count);
int32_t tables_stack_reversed(Tables *tables, const uint64_t *leaf_first, size_t count);
Row *tables_observe(Tables *tables, int64_t time, uint32_t track, int32_t stack, uint32_t detail);
Row *tables_row(Tables *tables, uint64_t number);
void notes_free(NoteChunk *chunk);
Note *tables_note(Tables *tables, NoteKind kind, uint32_t track, int64_t time, int64_t number, PyObject *name);

#pragma GCC visibility pop
#endif
