/* The constants that C and Python share: Python reads them here, or a test compares them
 * (tests/test_shared_constants.py). Whoever defines one on both sides adds it to a table here, and to that test. */
#include "python/constants.h"
#include "clock/clock.h"
#include "clock/tick.h"
#include "exact/callback_names.h"
#include "exact/exact_state.h"
#include "exact/garbage_collections.h"
#include "exact/step_chunks.h"
#include "tables/tables.h"
#include "tables/walk.h"
#include "tasks/discovery.h"
#include "tasks/questions.h"
#include "tasks/waiters.h"
#include "threads/threads.h"

#define SHARED(name) {#name, name}

static const struct {
    const char *name;
    long long value;
} numbers[] = {
    SHARED(GONE), SHARED(EMPTY), SHARED(AS_IT_IS), SHARED(OFFSET_BITS), SHARED(RUNNING), SHARED(RUNNABLE),
    SHARED(FIRST_WAITER), SHARED(GAP_LATE), SHARED(GAP_SKIPPED),
    SHARED(NOTE_THREAD), SHARED(NOTE_TASK), SHARED(NOTE_NAME), SHARED(NOTE_END), SHARED(NOTE_PARENT),
    SHARED(NOTE_LOOP), SHARED(NOTE_LOOP_THREAD), SHARED(NOTE_WAITER), SHARED(NOTE_GAP), SHARED(NOTE_EXACT),
    SHARED(NOTE_CALLBACK),
    SHARED(CODE_PLAIN), SHARED(CODE_HOLDS_FUTURES), SHARED(CODE_CHAIN), SHARED(CODE_SHIELD), SHARED(LONGEST_CHAIN),
    SHARED(UNKNOWN), SHARED(RAN), SHARED(SOME), SHARED(STOOD_STILL), SHARED(STARVED), SHARED(TOO_SOON),
    SHARED(FROZEN), SHARED(FROZEN_AFTER), SHARED(SOONEST),
    SHARED(KIND_TASK), SHARED(KIND_THREAD), SHARED(KIND_IO), SHARED(KIND_FUTURE), SHARED(QUESTION_WAIT),
    SHARED(QUESTION_CHAIN), SHARED(QUESTION_OWNER), SHARED(QUESTION_LABELS), SHARED(SEARCH_SHARE),
    SHARED(CALLBACK), SHARED(THREAD), SHARED(NOBODY), SHARED(SOURCE_SHIFT), SHARED(SOON), SHARED(TIMER),
    SHARED(SELECTOR), SHARED(THREADSAFE), SHARED(DEEPEST_PARTIAL), SHARED(MOST_COLLECTIONS),
    SHARED(COLLECTION_NUMBERS),
    SHARED(BURST), SHARED(MANY_TASKS), SHARED(MOST_ROWS),
};

static const struct {
    const char *name;
    double value;
} shares[] = {SHARED(STILL), SHARED(BUSY)};

static const struct {
    const char *name, *value;
} formats[] = {SHARED(ROW_FORMAT), SHARED(STEP_FORMAT)};

/* Put a value, whose reference is stolen, into a dict; return false with an exception, also if the value is NULL
 * already. */
static bool
put(PyObject *dict, const char *name, PyObject *value)
{
    bool is_put = value != NULL && PyDict_SetItemString(dict, name, value) == 0;
    Py_XDECREF(value);
    return is_put;
}

/* Return a dict (strong) of all shared constants by name; NULL with an exception. */
PyObject *
constants_new(void)
{
    PyObject *dict = PyDict_New();
    bool is_whole = dict != NULL;
    for (size_t each = 0; is_whole && each < Py_ARRAY_LENGTH(numbers); each++) {
        is_whole = put(dict, numbers[each].name, PyLong_FromLongLong(numbers[each].value));
    }
    for (size_t each = 0; is_whole && each < Py_ARRAY_LENGTH(shares); each++) {
        is_whole = put(dict, shares[each].name, PyFloat_FromDouble(shares[each].value));
    }
    for (size_t each = 0; is_whole && each < Py_ARRAY_LENGTH(formats); each++) {
        is_whole = put(dict, formats[each].name, PyUnicode_FromString(formats[each].value));
    }
    if (!is_whole) {
        Py_CLEAR(dict);
    }
    return dict;
}
