/* Arrays, tables and walks: what the core keeps of functions, stacks, rows and notes. */
#ifndef FGTRACE_TABLES_H
#define FGTRACE_TABLES_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

#define NONE UINT32_MAX
#define GONE (-1)
#define OFFSET_BITS 24
#define LONGEST_CHAIN 2000
#define ROWS_A_CHUNK 4096
#define NOTES_A_CHUNK 1024

/* --- arrays.c --- */

typedef struct {
    void *items;
    size_t used, room;
} Array;

typedef struct { /* from a hash to an item of a table: open addressing, keys are kept elsewhere; 0: free, else item + 1 */
    uint32_t *slots;
    uint32_t size, used;
} Index;

typedef uint32_t (*Hash)(void *, uint32_t); /* of an item of a table */

void *grown(void *items, size_t *room, size_t used, size_t size); /* with room for one more; NULL: no memory */
void *array_push(Array *array, size_t size); /* zeroed; NULL: no memory */
void array_free(Array *array);
bool index_put(Index *index, uint32_t item, Hash hash, void *of); /* false: no memory */
void index_remove(Index *index, uint32_t item, Hash hash, void *of);
void index_replace(Index *index, uint32_t item, uint32_t by, Hash hash, void *of);
uint32_t hash_of(uint64_t value);

/* The first slot of a hash, and the one after a slot; an index that has none is asked nothing. */
static inline uint32_t
index_first(const Index *index, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * index->size >> 32);
}

static inline uint32_t
index_next(const Index *index, uint32_t slot)
{
    return slot + 1 < index->size ? slot + 1 : 0;
}

/* --- tables.c: functions, stacks, rows, notes --- */

/* What Python told of a function by its code object (`mark`). */
enum { CODE_PLAIN = 1, CODE_LOOKER = 2, CODE_CHAIN = 4, CODE_SHIELD = 8, CODE_SPAWNER = 16 };

typedef struct {
    PyCodeObject *code; /* strong */
    PyObject *module;   /* strong: the ``__name__`` of its globals, or None */
    uint32_t flags;
} Code;

typedef struct {
    int64_t time, track, stack, detail;
} Row;

typedef struct Chunk {
    struct Chunk *next;
    size_t used;
    Row rows[ROWS_A_CHUNK];
} Chunk;

/* What happened besides rows, in order; `taken.c` makes tuples of them. */
typedef enum {
    NOTE_THREAD,  /* track, time, number: native id */
    NOTE_TASK,    /* track, time, number: loop, and above 16 bits that of its default name, name, root: its coroutine's name */
    NOTE_NAME,    /* track, name, number: 1 where it is to count as the first one */
    NOTE_END,     /* track, time */
    NOTE_PARENT,  /* track, number: the parent's track */
    NOTE_LOOP,    /* track: its index, name: its class */
    NOTE_PLACE,   /* track: index of a loop, name: of its thread */
    NOTE_WAIT,    /* track: index, number: kind, name: class of the waiter, time: track of the task or -1 */
    NOTE_GAP,     /* track: 0 late, 1 skipped; time, number: end, ticks */
    NOTE_EXACT,   /* track: index of a loop whose steps are noted, time: from when on, or with number 1, until when */
    NOTE_CALLBACK, /* track: its number, number: index of a code, or -1 and name: of what is of C */
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
    uint64_t rows_taken, rows_used;
    int64_t last_time;
    NoteChunk *first_note, *last_note;
    Array counters; /* of int64_t[3] */
    uint32_t tracks, waits;
    uint64_t cut;
    bool failed; /* no memory: nothing more is noted */
    bool has_spawner; /* there are greenlets, whose frames are no part of a chain */
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

/* --- walk.c: frames and await chains as elements --- */

typedef struct {
    uint64_t *items;
    size_t used, room;
} Path;

typedef struct {
    PyTypeObject *opaque[8]; /* their first field is the next link */
    PyTypeObject *ends[2];   /* FutureIter and the like: nothing follows */
} Links;

typedef struct { /* one frame of an await chain; nothing of it is kept */
    PyCodeObject *code;
    PyObject *globals;
    uint64_t offset;
} Link;

typedef struct {
    Frame *frame;  /* of a generator on a thread's stack */
    size_t first;  /* the thread's leaf, in `Path` */
    size_t place;  /* its own place there */
    unsigned long ident; /* of that thread */
} OnStack;

bool path_push(Path *path, uint64_t element);
uint64_t walk_element(Tables *tables, Frame *frame, PyCodeObject *code);
bool walk_frames(Tables *tables, Path *path, Frame *frame, Array *on_stack, unsigned long ident);
bool walk_chain(const Links *links, Array *frames, PyObject *coro, Gen **leaf);
int32_t walk_stack(Tables *tables, Path *path, const Array *frames, int32_t before, bool *is_whole);
bool gen_check(PyObject *object);

#pragma GCC visibility pop
#endif
