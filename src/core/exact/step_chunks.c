/* Keeps the steps of a trace with exact awaits: 40 bytes each, in chunks.
 *
 * Chunks that are full and more than the memory allows are written to a file by the clock's thread, which needs no
 * GIL for it: the program is not held, and nobody who wants the GIL can be starved by it.
 */
#include "exact/step_chunks.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define STEPS_A_CHUNK 4096

_Static_assert(sizeof(Step) == 40, "fgtrace._step_records reads five words");

struct StepChunk {
    struct StepChunk *next;
    size_t used;
    Step steps[STEPS_A_CHUNK];
};

Exact *
chunks_new(const char *folder, size_t most_bytes)
{
    Exact *exact = calloc(1, sizeof *exact);
    if (exact == NULL) {
        return NULL;
    }
    exact->first = exact->last = calloc(1, sizeof *exact->first);
    exact->folder = strdup(folder);
    if (exact->first == NULL || exact->folder == NULL) {
        free(exact->first);
        free(exact->folder);
        free(exact);
        return NULL;
    }
    size_t most = most_bytes / sizeof(StepChunk);
    exact->chunks = 1;
    exact->most_chunks = most > 2 ? most : 2;
    exact->file = -1;
    exact->collection_began = -1;
    pthread_mutex_init(&exact->lock, NULL);
    return exact;
}

void
chunks_free(Exact *exact)
{
    while (exact->first != NULL) {
        StepChunk *next = exact->first->next;
        free(exact->first);
        exact->first = next;
    }
    if (exact->file >= 0) {
        close(exact->file);
    }
    pthread_mutex_destroy(&exact->lock);
    callbacks_free(exact);
    array_free(&exact->collections);
    free(exact->folder);
    free(exact);
}

void
chunks_keep(Core *core, const Step *step)
{
    Exact *exact = core->exact;
    if (exact->last->used == STEPS_A_CHUNK) {
        bool is_full = exact->failed != 0 && exact->chunks >= exact->most_chunks; /* they cannot be written */
        StepChunk *chunk = is_full ? NULL : malloc(sizeof *chunk);
        if (chunk == NULL) {
            exact->lost++;
            return;
        }
        chunk->next = NULL;
        chunk->used = 0;
        pthread_mutex_lock(&exact->lock); /* nobody who has it waits for the GIL */
        exact->last->next = chunk;
        exact->last = chunk;
        exact->chunks++;
        pthread_mutex_unlock(&exact->lock);
    }
    exact->last->steps[exact->last->used++] = *step;
    exact->count++;
}

static bool
open_file(Exact *exact)
{
    exact->file = open(exact->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (exact->file < 0) { /* a file system that has no nameless files */
        char path[4096];
        snprintf(path, sizeof path, "%s/fgtrace-XXXXXX", exact->folder);
        exact->file = mkostemp(path, O_CLOEXEC);
        if (exact->file >= 0) {
            unlink(path);
        }
    }
    return exact->file >= 0;
}

static bool
write_whole(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t done = write(file, bytes, size);
        if (done < 0 && errno != EINTR) {
            return false;
        }
        bytes += done > 0 ? done : 0;
        size -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* Write chunks that are full to the file, until what is left is within bounds. Called by one thread only. */
void
chunks_spill(Core *core)
{
    Exact *exact = core->exact;
    while (exact != NULL && exact->failed == 0) {
        pthread_mutex_lock(&exact->lock);
        StepChunk *chunk = exact->chunks > exact->most_chunks ? exact->first : NULL;
        pthread_mutex_unlock(&exact->lock);
        if (chunk == NULL) {
            return;
        }
        if ((exact->file < 0 && !open_file(exact)) ||
            !write_whole(exact->file, (const char *)chunk->steps, chunk->used * sizeof(Step))) {
            exact->failed = errno;
            return;
        }
        pthread_mutex_lock(&exact->lock);
        exact->first = chunk->next;
        exact->chunks--;
        exact->written += chunk->used;
        pthread_mutex_unlock(&exact->lock);
        free(chunk);
    }
}

/* A block of steps (bytes), None behind the last; the trace may go on meanwhile. */
PyObject *
chunks_block(Core *core, size_t number)
{
    Exact *exact = core->exact;
    size_t first = number * STEPS_A_CHUNK;
    if (exact == NULL) {
        Py_RETURN_NONE;
    }
    pthread_mutex_lock(&exact->lock); /* else a chunk may be written and freed while it is read */
    if (first < exact->written) { /* chunks are written when they are full */
        pthread_mutex_unlock(&exact->lock);
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, STEPS_A_CHUNK * sizeof(Step));
        if (bytes != NULL && pread(exact->file, PyBytes_AS_STRING(bytes), STEPS_A_CHUNK * sizeof(Step),
                                   (off_t)(first * sizeof(Step))) != STEPS_A_CHUNK * sizeof(Step)) {
            Py_DECREF(bytes);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        return bytes;
    }
    const StepChunk *chunk = exact->first;
    for (size_t place = exact->written; chunk != NULL && place < first; place += STEPS_A_CHUNK) {
        chunk = chunk->next;
    }
    PyObject *found = chunk == NULL ? Py_NewRef(Py_None)
                                    : PyBytes_FromStringAndSize((const char *)chunk->steps,
                                                                (Py_ssize_t)(chunk->used * sizeof(Step)));
    pthread_mutex_unlock(&exact->lock);
    return found;
}

/* All steps that are here (bytes): they are Python's now. Only where nothing is spilled. */
PyObject *
chunks_take(Core *core)
{
    Exact *exact = core->exact;
    StepChunk *fresh = exact != NULL ? calloc(1, sizeof *fresh) : NULL;
    if (fresh == NULL) {
        return exact != NULL ? PyErr_NoMemory() : PyBytes_FromStringAndSize(NULL, 0);
    }
    pthread_mutex_lock(&exact->lock);
    StepChunk *chunk = exact->first; /* all at once: an allocation may collect, and more steps may come */
    size_t count = exact->count - exact->written - exact->taken;
    exact->first = exact->last = fresh;
    exact->chunks = 1;
    exact->taken += count;
    pthread_mutex_unlock(&exact->lock);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * sizeof(Step)));
    char *to = bytes != NULL ? PyBytes_AS_STRING(bytes) : NULL;
    while (chunk != NULL) {
        StepChunk *next = chunk->next;
        if (to != NULL) {
            memcpy(to, chunk->steps, chunk->used * sizeof(Step));
            to += chunk->used * sizeof(Step);
        }
        free(chunk);
        chunk = next;
    }
    return bytes;
}

/* Amend a step whose wait was not clear at once; false where it is in the file by now, or taken. */
bool
chunks_amend(Core *core, uint64_t number, int32_t stack, uint32_t detail)
{
    Exact *exact = core->exact;
    bool is_found = false;
    if (exact == NULL) {
        return false;
    }
    pthread_mutex_lock(&exact->lock);
    uint64_t first = exact->written + exact->taken, place = number - first;
    StepChunk *chunk = exact->first;
    while (number >= first && chunk != NULL && place >= chunk->used) {
        place -= chunk->used;
        chunk = chunk->next;
    }
    /* the first one may be on its way to the file just now: it is left alone where there is another */
    if (number >= first && chunk != NULL && (chunk != exact->first || exact->chunks <= exact->most_chunks)) {
        Step *step = &chunk->steps[place];
        if (stack >= GONE) {
            step->stack = (uint32_t)stack;
        }
        step->detail = detail;
        is_found = true;
    }
    pthread_mutex_unlock(&exact->lock);
    return is_found;
}
