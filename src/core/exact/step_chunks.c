/* Exact awaits: keeps the steps of a trace, 40 bytes each, in chunks.
 *
 * When the chunks take more memory than they may, the clock's thread writes full ones to a file. It needs no GIL for
 * that, so the program is not held, and no thread that wants the GIL can be starved.
 */
#include "exact/step_chunks.h"
#include "tables/tables.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define STEPS_A_CHUNK 4096

struct StepChunk {
    struct StepChunk *next;
    size_t used;
    Step steps[STEPS_A_CHUNK];
};

/* Begin with the first chunk; what exceeds `most_bytes` goes to a file in a folder. Return false without memory. */
bool
chunks_begin(Steps *steps, const char *folder, size_t most_bytes)
{
    *steps = (Steps){.file = -1, .chunks = 1};
    steps->first = steps->last = calloc(1, sizeof *steps->first);
    steps->folder = strdup(folder);
    if (steps->first == NULL || steps->folder == NULL) {
        free(steps->first);
        free(steps->folder);
        return false;
    }
    size_t most = most_bytes / sizeof(StepChunk);
    steps->most_chunks = most > 2 ? most : 2;
    pthread_mutex_init(&steps->lock, NULL);
    return true;
}

/* Free the chunks, and close the file. */
void
chunks_free(Steps *steps)
{
    while (steps->first != NULL) {
        StepChunk *next = steps->first->next;
        free(steps->first);
        steps->first = next;
    }
    if (steps->file >= 0) {
        close(steps->file);
    }
    pthread_mutex_destroy(&steps->lock);
    free(steps->folder);
}

/* Keep a step; where that is not possible, it is counted as lost. */
void
chunks_keep(Steps *steps, const Step *step)
{
    if (steps->last->used == STEPS_A_CHUNK) {
        bool is_full = steps->failed != 0 && steps->chunks >= steps->most_chunks; /* the chunks cannot be written */
        StepChunk *chunk = is_full ? NULL : malloc(sizeof *chunk);
        if (chunk == NULL) {
            steps->lost++;
            return;
        }
        chunk->next = NULL;
        chunk->used = 0;
        pthread_mutex_lock(&steps->lock); /* no thread that has this lock waits for the GIL */
        steps->last->next = chunk;
        steps->last = chunk;
        steps->chunks++;
        pthread_mutex_unlock(&steps->lock);
    }
    steps->last->steps[steps->last->used++] = *step;
    steps->count++;
}

/* Open a file that has no name; return false with `errno`. */
static bool
open_file(Steps *steps)
{
    steps->file = open(steps->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (steps->file < 0) { /* the file system has no files without a name */
        char path[4096];
        snprintf(path, sizeof path, "%s/fgtrace-XXXXXX", steps->folder);
        steps->file = mkostemp(path, O_CLOEXEC);
        if (steps->file >= 0) {
            unlink(path);
        }
    }
    return steps->file >= 0;
}

/* Write all bytes; return false with `errno`. */
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

/* Write full chunks to the file, until the others are within bounds. Only the clock's thread calls this, without the
 * GIL. */
void
chunks_spill(Steps *steps)
{
    while (steps->failed == 0) {
        pthread_mutex_lock(&steps->lock);
        StepChunk *chunk = steps->chunks > steps->most_chunks ? steps->first : NULL;
        pthread_mutex_unlock(&steps->lock);
        if (chunk == NULL) {
            return;
        }
        if ((steps->file < 0 && !open_file(steps)) ||
            !write_whole(steps->file, (const char *)chunk->steps, chunk->used * sizeof(Step))) {
            steps->failed = errno;
            return;
        }
        pthread_mutex_lock(&steps->lock);
        steps->first = chunk->next;
        steps->chunks--;
        steps->written += chunk->used;
        pthread_mutex_unlock(&steps->lock);
        free(chunk);
    }
}

/* Return a block of steps (bytes, strong), or None behind the last; NULL with an exception. The trace may go on
 * meanwhile. */
PyObject *
chunks_block(Steps *steps, size_t number)
{
    size_t first = number * STEPS_A_CHUNK;
    pthread_mutex_lock(&steps->lock); /* else a chunk could be written and freed while it is read */
    if (first < steps->written) { /* only full chunks are written */
        pthread_mutex_unlock(&steps->lock);
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, STEPS_A_CHUNK * sizeof(Step));
        if (bytes != NULL && pread(steps->file, PyBytes_AS_STRING(bytes), STEPS_A_CHUNK * sizeof(Step),
                                   (off_t)(first * sizeof(Step))) != STEPS_A_CHUNK * sizeof(Step)) {
            Py_DECREF(bytes);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        return bytes;
    }
    const StepChunk *chunk = steps->first;
    for (size_t place = steps->written; chunk != NULL && place < first; place += STEPS_A_CHUNK) {
        chunk = chunk->next;
    }
    PyObject *found = chunk == NULL ? Py_NewRef(Py_None)
                                    : PyBytes_FromStringAndSize((const char *)chunk->steps,
                                                                (Py_ssize_t)(chunk->used * sizeof(Step)));
    pthread_mutex_unlock(&steps->lock);
    return found;
}

/* Return all steps that are in memory (bytes, strong), and forget them; NULL with an exception. Steps that were
 * spilled are not among them. */
PyObject *
chunks_drain(Steps *steps)
{
    StepChunk *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL) {
        return PyErr_NoMemory();
    }
    pthread_mutex_lock(&steps->lock);
    /* all chunks at once: an allocation may run the garbage collector, and more steps may come */
    StepChunk *chunk = steps->first;
    size_t count = steps->count - steps->written - steps->drained;
    steps->first = steps->last = fresh;
    steps->chunks = 1;
    steps->drained += count;
    pthread_mutex_unlock(&steps->lock);
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

/* Amend a step whose waiter Python had to judge; return false where the step is in the file, or was drained. */
bool
chunks_amend(Steps *steps, uint64_t number, int32_t stack, uint32_t detail)
{
    bool is_found = false;
    pthread_mutex_lock(&steps->lock);
    uint64_t first = steps->written + steps->drained, place = number - first;
    StepChunk *chunk = steps->first;
    while (number >= first && chunk != NULL && place >= chunk->used) {
        place -= chunk->used;
        chunk = chunk->next;
    }
    /* the first chunk may be on its way to the file: where there is another one, it is left alone */
    if (number >= first && chunk != NULL && (chunk != steps->first || steps->chunks <= steps->most_chunks)) {
        Step *step = &chunk->steps[place];
        if (stack != AS_IT_IS) {
            step->stack = (uint32_t)stack;
        }
        step->detail = detail;
        is_found = true;
    }
    pthread_mutex_unlock(&steps->lock);
    return is_found;
}
