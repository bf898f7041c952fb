/* Exact awaits: keeps the collections of the garbage collector. A busy program has
 * many, mostly of the youngest generation. */
#include "exact/garbage_collections.h"

/* Return a number in what ``gc.callbacks`` tell, or 0. */
static int64_t
number_of(PyObject *information, const char *name)
{
    PyObject *found = PyDict_GetItemString(information, name); /* borrowed */
    return found != NULL && PyLong_Check(found) ? PyLong_AsLongLong(found) : 0;
}

/* Note what ``gc.callbacks`` tell: the phase, "start" or "stop", and a dict. */
void
collections_note(Collections *collections, PyObject *phase, PyObject *information, int64_t now)
{
    if (PyUnicode_CompareWithASCIIString(phase, "start") == 0) {
        collections->began = now;
    }
    else if (collections->began >= 0) {
        Array *all = &collections->items;
        int64_t *noted = all->used < MOST_COLLECTIONS ? array_push(all, COLLECTION_NUMBERS * sizeof *noted) : NULL;
        if (noted != NULL) {
            noted[0] = collections->began;
            noted[1] = now;
            noted[2] = (int64_t)PyThreadState_Get()->native_thread_id;
            noted[3] = number_of(information, "generation");
            noted[4] = number_of(information, "collected");
        }
        else {
            collections->dropped++;
        }
        collections->began = -1;
    }
}
