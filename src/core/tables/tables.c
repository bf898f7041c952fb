/* The tables of functions, stacks, rows and notes.
 *
 * Functions and stacks are numbered as in `fgtrace._recording.recording`: a stack is a node of a tree, and an element
 * of a stack is ``code index << 24 | instruction offset``.
 */
#include "tables/tables.h"

/* --- functions --- */

/* Return the hash of a code object's address. */
static uint32_t
hash_code(void *codes, uint32_t item)
{
    return hash_of((uint64_t)(uintptr_t)((Code *)codes)[item].code);
}

/* Return the number of a code object, or NONE. */
static uint32_t
find_code(const Index *index, const Code *codes, PyCodeObject *code)
{
    if (index->size == 0) {
        return NONE;
    }
    uint32_t slot = index_first(index, hash_of((uint64_t)(uintptr_t)code)), found;
    while ((found = index->slots[slot]) != 0 && codes[found - 1].code != code) {
        slot = index_next(index, slot);
    }
    return found != 0 ? found - 1 : NONE;
}

/* Return the number of a code object that is added, which keeps a reference to it; NONE without memory. */
static uint32_t
add_code(Index *index, Code **codes, size_t *used, size_t *room, PyCodeObject *code)
{
    Code *items = grown(*codes, room, *used, sizeof(Code));
    if (items == NULL) {
        return NONE;
    }
    *codes = items;
    items[*used] = (Code){code, NULL, 0};
    if (!index_put(index, (uint32_t)*used, hash_code, items)) {
        return NONE;
    }
    Py_INCREF(code);
    return (uint32_t)(*used)++;
}

/* Note what Python tells of a function by its code object. */
void
tables_mark(Tables *tables, PyCodeObject *code, uint32_t flags)
{
    uint32_t item = find_code(&tables->mark_index, tables->marks, code);
    if (item == NONE) {
        item = add_code(&tables->mark_index, &tables->marks, &tables->marks_used, &tables->marks_room, code);
    }
    if (item != NONE) {
        tables->marks[item].flags |= flags;
    }
    item = find_code(&tables->code_index, tables->codes, code);
    if (item != NONE) {
        tables->codes[item].flags |= flags;
    }
}

/* Return what Python told of a function, or 0. */
uint32_t
tables_marked(Tables *tables, PyCodeObject *code)
{
    uint32_t item = find_code(&tables->mark_index, tables->marks, code);
    return item == NONE ? 0 : tables->marks[item].flags;
}

/* Return the number of a code object, which is added if it is new; its module is the ``__name__`` of the globals.
 * Without memory, return 0, which is the first function, and set `failed`. */
uint32_t
tables_code(Tables *tables, PyCodeObject *code, PyObject *globals)
{
    uint32_t item = find_code(&tables->code_index, tables->codes, code);
    if (item != NONE) {
        return item;
    }
    item = add_code(&tables->code_index, &tables->codes, &tables->codes_used, &tables->codes_room, code);
    if (item == NONE) {
        tables->failed = true;
        return 0;
    }
    PyObject *module = NULL;
    if (globals != NULL && PyDict_Check(globals)) {
        module = PyDict_GetItemString(globals, "__name__"); /* borrowed; it sets no exception */
    }
    tables->codes[item].module = Py_NewRef(module != NULL && PyUnicode_CheckExact(module) ? module : Py_None);
    uint32_t flags = tables_marked(tables, code);
    if (PyUnicode_CompareWithASCIIString(code->co_name, "greenlet_spawn") == 0) {
        flags |= CODE_SPAWNER;
    }
    tables->codes[item].flags = flags;
    return item;
}

/* --- stacks --- */

/* Return the hash of a node. */
static uint32_t
hash_node(void *of, uint32_t node)
{
    Tables *tables = of;
    return hash_of(tables->elements[node] ^ (uint64_t)tables->parents[node] * 0x9e3779b97f4a7c15ULL);
}

/* Return a new node of the tree of stacks; NONE where the tree is full, or without memory. */
static uint32_t
add_node(Tables *tables, uint32_t parent, uint64_t element)
{
    if (tables->nodes_used >= tables->most_nodes) {
        tables->cut++;
        return NONE;
    }
    if (tables->nodes_used == tables->nodes_room) {
        size_t room = tables->nodes_room ? tables->nodes_room * 2 : 1024;
        uint32_t *parents = realloc(tables->parents, room * sizeof *parents);
        tables->parents = parents != NULL ? parents : tables->parents;
        uint64_t *elements = realloc(tables->elements, room * sizeof *elements);
        tables->elements = elements != NULL ? elements : tables->elements;
        if (parents == NULL || elements == NULL) {
            tables->failed = true;
            return NONE;
        }
        tables->nodes_room = room;
    }
    uint32_t node = (uint32_t)tables->nodes_used;
    tables->parents[node] = parent;
    tables->elements[node] = element;
    if (!index_put(&tables->node_index, node, hash_node, tables)) {
        tables->failed = true;
        return NONE;
    }
    tables->nodes_used++;
    return node;
}

/* Return the node of an element below a parent, which is added if it is new; NONE where it cannot be added. */
static uint32_t
child(Tables *tables, uint32_t parent, uint64_t element)
{
    const Index *index = &tables->node_index;
    uint32_t slot = index_first(index, hash_of(element ^ (uint64_t)parent * 0x9e3779b97f4a7c15ULL)), found;
    while ((found = index->slots[slot]) != 0) {
        if (tables->elements[found - 1] == element && tables->parents[found - 1] == parent) {
            return found - 1;
        }
        slot = index_next(index, slot);
    }
    return add_node(tables, parent, element);
}

/* Return the number of a stack, which is added if it is new. Where the tree is full, the stack loses its innermost
 * frames. */
int32_t
tables_stack(Tables *tables, const uint64_t *root_first, size_t count)
{
    uint32_t node = 0;
    for (size_t place = 0; place < count; place++) {
        uint32_t next = child(tables, node, root_first[place]);
        if (next == NONE) {
            break;
        }
        node = next;
    }
    return (int32_t)node;
}

/* Return the number of a stack that is given from leaf to root; else as `tables_stack`. */
int32_t
tables_stack_reversed(Tables *tables, const uint64_t *leaf_first, size_t count)
{
    uint32_t node = 0;
    while (count > 0) {
        uint32_t next = child(tables, node, leaf_first[--count]);
        if (next == NONE) {
            break;
        }
        node = next;
    }
    return (int32_t)node;
}

/* --- rows and notes --- */

/* Append a row; return it (it stays in the table), or NULL without memory. */
Row *
tables_observe(Tables *tables, int64_t time, uint32_t track, int32_t stack, uint32_t detail)
{
    if (tables->last == NULL || tables->last->used == ROWS_A_CHUNK) {
        Chunk *chunk = malloc(sizeof *chunk);
        if (chunk == NULL) {
            tables->failed = true;
            return NULL;
        }
        chunk->next = NULL;
        chunk->used = 0;
        *(tables->last == NULL ? &tables->first : &tables->last->next) = chunk;
        tables->last = chunk;
    }
    if (time < tables->last_time) { /* rows must be in the order of time, whoever appends them */
        time = tables->last_time;
    }
    tables->last_time = time;
    tables->rows_used++;
    Row *row = &tables->last->rows[tables->last->used++];
    *row = (Row){time, track, stack, detail};
    return row;
}

/* Return the row with a number, or NULL where Python has drained it. */
Row *
tables_row(Tables *tables, uint64_t number)
{
    if (number < tables->rows_drained || number >= tables->rows_used) {
        return NULL;
    }
    uint64_t place = number - tables->rows_drained;
    for (Chunk *chunk = tables->first; chunk != NULL; chunk = chunk->next) {
        if (place < chunk->used) {
            return &chunk->rows[place];
        }
        place -= chunk->used;
    }
    return NULL;
}

/* Append a note, which keeps a reference to the name; return it (it stays in the table), or NULL without memory. */
Note *
tables_note(Tables *tables, NoteKind kind, uint32_t track, int64_t time, int64_t number, PyObject *name)
{
    NoteChunk *chunk = tables->last_note;
    if (chunk == NULL || chunk->used == NOTES_A_CHUNK) {
        chunk = malloc(sizeof *chunk);
        if (chunk == NULL) {
            tables->failed = true;
            return NULL;
        }
        chunk->next = NULL;
        chunk->used = 0;
        *(tables->last_note == NULL ? &tables->first_note : &tables->last_note->next) = chunk;
        tables->last_note = chunk;
    }
    Note *note = &chunk->notes[chunk->used++];
    *note = (Note){time, number, Py_XNewRef(name), NULL, track, 0, (unsigned)kind & 0xFF};
    return note;
}

/* Free a list of chunks of notes, with the references that they hold. */
void
notes_free(NoteChunk *chunk)
{
    while (chunk != NULL) {
        NoteChunk *next = chunk->next;
        for (size_t item = 0; item < chunk->used; item++) {
            Py_XDECREF(chunk->notes[item].name);
            Py_XDECREF(chunk->notes[item].root);
        }
        free(chunk);
        chunk = next;
    }
}

/* --- life --- */

/* Prepare the tables, with at most `most_nodes` nodes of stacks; return false without memory. */
bool
tables_begin(Tables *tables, size_t most_nodes)
{
    tables->most_nodes = most_nodes;
    return add_node(tables, NONE, 0) == 0; /* the empty stack */
}

/* Free functions, with the references that they hold. */
static void
free_codes(Code *codes, size_t used, Index *index)
{
    for (size_t item = 0; item < used; item++) {
        Py_DECREF(codes[item].code);
        Py_XDECREF(codes[item].module);
    }
    free(codes);
    free(index->slots);
}

/* Free everything, with the references that are held. */
void
tables_free(Tables *tables)
{
    free_codes(tables->codes, tables->codes_used, &tables->code_index);
    free_codes(tables->marks, tables->marks_used, &tables->mark_index);
    free(tables->parents);
    free(tables->elements);
    free(tables->node_index.slots);
    while (tables->first != NULL) {
        Chunk *next = tables->first->next;
        free(tables->first);
        tables->first = next;
    }
    notes_free(tables->first_note);
    array_free(&tables->counters);
    *tables = (Tables){0};
}
