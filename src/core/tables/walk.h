/* Walks frames and await chains, and makes stacks of them. What an await chain goes through besides coroutines and
 * generators is a type in `LinkTypes`. */
#ifndef FGTRACE_TABLES_WALK_H
#define FGTRACE_TABLES_WALK_H

#include "cpython/version_compat.h"
#include "tables/tables.h"

#pragma GCC visibility push(hidden)

#define LONGEST_CHAIN 2000 /* links of an await chain that are followed */

typedef struct {
    uint64_t *items;
    size_t used, room;
} Path;

typedef struct {
    PyTypeObject *opaque[8]; /* strong: types whose first field is the next link */
    PyTypeObject *ends[2];   /* strong: FutureIter and the like, where a chain ends */
} LinkTypes;

typedef struct { /* one frame of an await chain; all references are borrowed for the walk */
    PyCodeObject *code;
    PyObject *globals;
    uint64_t offset;
} ChainFrame;

typedef struct {
    Frame *frame;  /* the frame of a generator that runs on a thread's stack */
    size_t first;  /* where that thread's frames begin in the path, with the leaf */
    size_t place;  /* where this frame is in the path */
    unsigned long ident; /* of that thread */
} OnStack;

typedef struct { /* what the walks of one core need, and what the walks of this tick have found */
    LinkTypes link_types;
    Path path;
    Array on_stack; /* of OnStack */
    Array chain;    /* of ChainFrame */
} Walk;

bool path_push(Path *path, uint64_t element);
uint64_t walk_element(Tables *tables, Frame *frame, PyCodeObject *code);
bool walk_frames(Tables *tables, Path *path, Frame *frame, Array *on_stack, unsigned long ident);
bool walk_chain(const LinkTypes *links, Array *frames, PyObject *link, Gen **leaf);
int32_t walk_stack(Tables *tables, Path *path, const Array *frames, int32_t before, bool *is_whole);
void walk_free(Walk *walk);

#pragma GCC visibility pop
#endif
