/* Walks frames and await chains, and makes stacks of them without making a frame object. */
#include "tables/walk.h"
#include "cpython/inspect.h"


/* Append an element to a path; return false without memory. */
bool
path_push(Path *path, uint64_t element)
{
    uint64_t *items = grown(path->items, &path->room, path->used, sizeof *items);
    if (items == NULL) {
        return false;
    }
    path->items = items;
    path->items[path->used++] = element;
    return true;
}

/* Return the element of a stack that says where a frame is. */
uint64_t
walk_element(Tables *tables, Frame *frame, PyCodeObject *code)
{
    uint64_t index = tables_code(tables, code, frame->f_globals);
    return index << OFFSET_BITS | (frame_offset(frame, code) & ((1U << OFFSET_BITS) - 1));
}

/* Append a thread's frames to the path, leaf first, and those that generators own to `on_stack`. Return false without
 * memory. */
bool
walk_frames(Tables *tables, Path *path, Frame *frame, Array *on_stack, unsigned long ident)
{
    size_t first = path->used;
    for (; frame != NULL; frame = frame->previous) {
        PyCodeObject *code = frame_code(frame);
        if (code == NULL || !frame_is_complete(frame, code)) {
            continue;
        }
        if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
            OnStack *found = array_push(on_stack, sizeof *found);
            if (found == NULL) {
                return false;
            }
            *found = (OnStack){frame, first, path->used, ident};
        }
        if (!path_push(path, walk_element(tables, frame, code))) {
            return false;
        }
    }
    return true;
}

/* Return whether a type is one of some others; NULL ends the list. */
static bool
is_one_of(PyTypeObject *type, PyTypeObject *const *types, size_t count)
{
    for (size_t place = 0; place < count && types[place] != NULL; place++) {
        if (types[place] == type) {
            return true;
        }
    }
    return false;
}

/* Walk what a suspended coroutine awaits, link by link, and append the frames. Return false, with the frames found so
 * far, where only Python can follow a link, where a generator has no code object, and without memory. A chain that is
 * longer than LONGEST_CHAIN counts as whole. `leaf` becomes the innermost generator (borrowed), or NULL. */
bool
walk_chain(const LinkTypes *types, Array *frames, PyObject *link, Gen **leaf)
{
    *leaf = NULL;
    for (int count = 0; link != NULL && count < LONGEST_CHAIN; count++) {
        PyTypeObject *type = Py_TYPE(link);
        if (gen_check(link)) {
            Gen *gen = (Gen *)link;
            if (gen->gi_frame_state >= GEN_CLEARED) {
                break;
            }
            Frame *frame = gen_frame(gen);
            PyCodeObject *code = frame_code(frame);
            ChainFrame *found = code != NULL ? array_push(frames, sizeof *found) : NULL;
            if (found == NULL) {
                return false;
            }
            *found = (ChainFrame){code, frame->f_globals, frame_offset(frame, code) & ((1U << OFFSET_BITS) - 1)};
            *leaf = gen;
            link = gen_delegate(gen);
        }
        else if (is_one_of(type, types->opaque, Py_ARRAY_LENGTH(types->opaque))) {
            link = field_at(link, sizeof(PyObject)); /* the object is CPython's own: its first field is the next link */
        }
        else {
            return is_one_of(type, types->ends, Py_ARRAY_LENGTH(types->ends));
        }
    }
    return true;
}

/* Return whether these frames are those of a known stack. */
static bool
is_stack(const Tables *tables, int32_t node, const Array *frames)
{
    const ChainFrame *items = frames->items;
    size_t count = frames->used;
    while (node > 0 && count > 0) {
        uint64_t element = tables->elements[node];
        const ChainFrame *frame = &items[count - 1];
        if (tables->codes[element >> OFFSET_BITS].code != frame->code ||
            (element & ((1U << OFFSET_BITS) - 1)) != frame->offset) {
            return false;
        }
        node = (int32_t)tables->parents[node];
        count--;
    }
    return node == 0 && count == 0;
}

/* Return the stack of the frames that `walk_chain` found. `before` is a stack that it probably is again. `is_whole`
 * becomes false where a greenlet's frames are missing. */
int32_t
walk_stack(Tables *tables, Path *path, const Array *frames, int32_t before, bool *is_whole)
{
    const ChainFrame *items = frames->items;
    bool is_same = is_stack(tables, before, frames) && !tables->has_spawner;
    if (is_same) {
        return before;
    }
    size_t start = path->used;
    for (size_t place = 0; place < frames->used; place++) {
        uint64_t index = tables_code(tables, items[place].code, items[place].globals);
        if (tables->codes[index].flags & CODE_SPAWNER) {
            tables->has_spawner = true;
            *is_whole = false;
        }
        path_push(path, index << OFFSET_BITS | items[place].offset);
    }
    int32_t stack = tables_stack(tables, path->items + start, path->used - start);
    path->used = start;
    return stack;
}

/* Free everything, with the references to types. */
void
walk_free(Walk *walk)
{
    for (size_t place = 0; place < Py_ARRAY_LENGTH(walk->link_types.opaque); place++) {
        Py_XDECREF(walk->link_types.opaque[place]);
    }
    for (size_t place = 0; place < Py_ARRAY_LENGTH(walk->link_types.ends); place++) {
        Py_XDECREF(walk->link_types.ends[place]);
    }
    free(walk->path.items);
    array_free(&walk->on_stack);
    array_free(&walk->chain);
    *walk = (Walk){0};
}
