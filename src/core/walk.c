/* Frames and await chains as elements of a stack, without making a frame object. */
#include "core.h"

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

uint64_t
walk_element(Tables *tables, Frame *frame, PyCodeObject *code)
{
    uint64_t index = tables_code(tables, code, frame->f_globals);
    return index << OFFSET_BITS | (frame_offset(frame, code) & ((1U << OFFSET_BITS) - 1));
}

/* Add a thread's frames to the path, leaf first, and its generators' to those on a stack. */
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

bool
gen_check(PyObject *object)
{
    return PyCoro_CheckExact(object) || PyGen_CheckExact(object) || PyAsyncGen_CheckExact(object);
}

static PyObject * /* borrowed: what an object of CPython's own holds first */
first_field(PyObject *object)
{
    return *(PyObject **)((char *)object + sizeof(PyObject));
}

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

/* What a suspended coroutine awaits, link by link, from the root.
 * False where a link is met that only Python can follow: the path ends before it. */
bool
walk_chain(Tables *tables, const Links *links, Path *path, PyObject *link, Gen **leaf)
{
    *leaf = NULL;
    bool is_whole = true;
    for (int count = 0; link != NULL && count < LONGEST_CHAIN; count++) {
        PyTypeObject *type = Py_TYPE(link);
        if (gen_check(link)) {
            Gen *gen = (Gen *)link;
            if (gen->gi_frame_state >= GEN_CLEARED) {
                break;
            }
            Frame *frame = gen_frame(gen);
            PyCodeObject *code = frame_code(frame);
            if (code == NULL || !path_push(path, walk_element(tables, frame, code))) {
                return false;
            }
            *leaf = gen;
            uint64_t index = path->items[path->used - 1] >> OFFSET_BITS;
            if (tables->codes[index].flags & CODE_SPAWNER) {
                is_whole = false; /* the frames of its greenlet are missing */
            }
            link = gen_delegate(gen);
        }
        else if (is_one_of(type, links->opaque, Py_ARRAY_LENGTH(links->opaque))) {
            link = first_field(link);
        }
        else {
            return is_whole && is_one_of(type, links->ends, Py_ARRAY_LENGTH(links->ends));
        }
    }
    return is_whole;
}
