/* Growing arrays, and the tables of functions, stacks, rows and notes.
 *
 * Functions and stacks are numbered as in `fgtrace._recording`: a stack is a node of a tree, an element
 * is ``code index << 24 | instruction offset``. An index is open addressing over those tables.
 */
#include "core.h"

/* --- arrays and indexes --- */

void *
grown(void *items, size_t *room, size_t used, size_t size)
{
    if (used < *room) {
        return items;
    }
    size_t wanted = *room ? *room * 2 : 64;
    void *found = realloc(items, wanted * size);
    if (found != NULL) {
        *room = wanted;
    }
    return found;
}

void *
array_push(Array *array, size_t size)
{
    void *items = grown(array->items, &array->room, array->used, size);
    if (items == NULL) {
        return NULL;
    }
    array->items = items;
    void *item = (char *)items + array->used++ * size;
    memset(item, 0, size);
    return item;
}

void
array_free(Array *array)
{
    free(array->items);
    *array = (Array){0};
}

uint64_t
hash_of(uint64_t value) /* the finalizer of MurmurHash3 */
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdULL;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ULL;
    return value ^ value >> 33;
}

/* Put an item into the first free slot of its way; there is one. */
void
index_put(Index *index, uint32_t item, uint64_t hash)
{
    size_t slot = hash & index->mask;
    while (index->slots[slot] != NONE) {
        slot = (slot + 1) & index->mask;
    }
    index->slots[slot] = item;
}

/* Make room for one more, half of the slots free; `used` is how many items the table has. */
bool
index_room(Index *index, size_t used, uint64_t (*hash)(void *, uint32_t), void *of)
{
    if (index->slots != NULL && (used + 1) * 2 <= index->mask + 1) {
        return true;
    }
    size_t size = index->slots != NULL ? (index->mask + 1) * 2 : 64;
    uint32_t *slots = malloc(size * sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    memset(slots, 0xff, size * sizeof *slots);
    free(index->slots);
    *index = (Index){slots, size - 1};
    for (uint32_t item = 0; item < used; item++) {
        index_put(index, item, hash(of, item));
    }
    return true;
}

/* --- functions --- */

static uint64_t
hash_code(void *codes, uint32_t item)
{
    return hash_of((uint64_t)(uintptr_t)((Code *)codes)[item].code);
}

static uint32_t
find_code(const Index *index, const Code *codes, PyCodeObject *code)
{
    if (index->slots == NULL) {
        return NONE;
    }
    size_t slot = hash_of((uint64_t)(uintptr_t)code) & index->mask;
    uint32_t item;
    while ((item = index->slots[slot]) != NONE && codes[item].code != code) {
        slot = (slot + 1) & index->mask;
    }
    return item;
}

static uint32_t
add_code(Index *index, Code **codes, size_t *used, size_t *room, PyCodeObject *code)
{
    Code *items = grown(*codes, room, *used, sizeof(Code));
    if (items == NULL) {
        return NONE;
    }
    *codes = items;
    if (!index_room(index, *used, hash_code, items)) {
        return NONE;
    }
    uint32_t item = (uint32_t)(*used)++;
    (*codes)[item] = (Code){(PyCodeObject *)Py_NewRef(code), NULL, 0};
    index_put(index, item, hash_code(*codes, item));
    return item;
}

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

uint32_t
tables_marked(Tables *tables, PyCodeObject *code)
{
    uint32_t item = find_code(&tables->mark_index, tables->marks, code);
    return item == NONE ? 0 : tables->marks[item].flags;
}

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
        module = PyDict_GetItemString(globals, "__name__"); /* borrowed, without an exception */
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

static uint64_t
hash_node(void *of, uint32_t node)
{
    Tables *tables = of;
    return hash_of(tables->elements[node] ^ (uint64_t)tables->parents[node] * 0x9e3779b97f4a7c15ULL);
}

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
    if (!index_room(&tables->node_index, tables->nodes_used, hash_node, tables)) {
        tables->failed = true;
        return NONE;
    }
    uint32_t node = (uint32_t)tables->nodes_used++;
    tables->parents[node] = parent;
    tables->elements[node] = element;
    index_put(&tables->node_index, node, hash_node(tables, node));
    return node;
}

static uint32_t
child(Tables *tables, uint32_t parent, uint64_t element)
{
    const Index *index = &tables->node_index;
    size_t slot = hash_of(element ^ (uint64_t)parent * 0x9e3779b97f4a7c15ULL) & index->mask;
    uint32_t node;
    while ((node = index->slots[slot]) != NONE) {
        if (tables->elements[node] == element && tables->parents[node] == parent) {
            return node;
        }
        slot = (slot + 1) & index->mask;
    }
    return add_node(tables, parent, element);
}

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
    if (time < tables->last_time) { /* rows are in the order of time, whoever brings them */
        time = tables->last_time;
    }
    tables->last_time = time;
    tables->rows_used++;
    Row *row = &tables->last->rows[tables->last->used++];
    *row = (Row){time, track, stack, detail};
    return row;
}

Row *
tables_row(Tables *tables, uint64_t number)
{
    if (number < tables->rows_taken || number >= tables->rows_used) {
        return NULL;
    }
    uint64_t place = number - tables->rows_taken;
    for (Chunk *chunk = tables->first; chunk != NULL; chunk = chunk->next) {
        if (place < chunk->used) {
            return &chunk->rows[place];
        }
        place -= chunk->used;
    }
    return NULL;
}

Note *
tables_note(Tables *tables, NoteKind kind, uint32_t track, int64_t time, int64_t number, PyObject *name)
{
    Note *note = array_push(&tables->notes, sizeof *note);
    if (note == NULL) {
        tables->failed = true;
        return NULL;
    }
    *note = (Note){time, number, Py_XNewRef(name), NULL, track, 0, kind};
    return note;
}

/* --- life --- */

bool
tables_begin(Tables *tables, size_t most_nodes)
{
    tables->most_nodes = most_nodes;
    return add_node(tables, NONE, 0) == 0; /* the empty stack */
}

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
    for (size_t item = 0; item < tables->notes.used; item++) {
        Py_XDECREF(((Note *)tables->notes.items)[item].name);
        Py_XDECREF(((Note *)tables->notes.items)[item].root);
    }
    array_free(&tables->notes);
    array_free(&tables->counters);
    *tables = (Tables){0};
}
