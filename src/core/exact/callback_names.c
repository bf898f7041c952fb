/* Exact awaits: names the callbacks of loops by their functions, which are found behind bound methods and partials
 * without running the program's code, and numbered like stacks. */
#include "exact/callback_names.h"
#include "cpython/inspect.h"

typedef struct {
    void *key;      /* the address of its code object, of its method's definition in C, or of its type */
    PyObject *type; /* strong, where its address is the key; or NULL */
} Callback;

/* Return the hash of a callback's key. */
static uint32_t
hash_callback(void *callbacks, uint32_t item)
{
    return hash_of((uint64_t)(uintptr_t)((Callback *)callbacks)[item].key);
}

/* Return the callable behind bound methods and partials (strong). */
static PyObject *
function_of(PyObject *callback)
{
    Py_INCREF(callback);
    for (int depth = 0; depth < DEEPEST_PARTIAL; depth++) {
        PyObject *inner = NULL;
        if (PyMethod_Check(callback)) {
            inner = Py_NewRef(PyMethod_GET_FUNCTION(callback));
        }
        else if (strcmp(Py_TYPE(callback)->tp_name, "functools.partial") == 0) {
            inner = inspect_attribute(callback, "func");
        }
        if (inner == NULL) {
            break;
        }
        Py_SETREF(callback, inner);
    }
    return callback;
}

/* Return the name of a callable that has no code object (strong); NULL without an exception. */
static PyObject *
name_of(PyObject *function)
{
    if (!PyCFunction_Check(function)) {
        return inspect_class_name(Py_TYPE(function));
    }
    PyObject *self = PyCFunction_GET_SELF(function);
    const char *name = ((PyCFunctionObject *)function)->m_ml->ml_name;
    PyObject *type = self != NULL && !PyModule_Check(self) ? inspect_class_name(Py_TYPE(self)) : NULL;
    PyObject *found = type != NULL ? PyUnicode_FromFormat("%U.%s", type, name) : PyUnicode_FromString(name);
    Py_XDECREF(type);
    PyErr_Clear();
    return found;
}

/* Return the number of a callback's function, which is noted if it is new. */
uint32_t
callbacks_number(Callbacks *callbacks, Tables *tables, PyObject *callback)
{
    Array *all = &callbacks->items;
    PyObject *function = callback != NULL ? function_of(callback) : Py_NewRef(Py_None);
    PyCodeObject *code = PyFunction_Check(function) ? (PyCodeObject *)PyFunction_GET_CODE(function) : NULL;
    PyObject *type = NULL;
    void *key = code;
    if (code == NULL && PyCFunction_Check(function)) {
        key = ((PyCFunctionObject *)function)->m_ml;
    }
    else if (code == NULL) {
        key = type = (PyObject *)Py_TYPE(function);
    }
    Index *index = &callbacks->index;
    uint32_t slot = index_first(index, hash_of((uint64_t)(uintptr_t)key)), found;
    while (index->size > 0 && (found = index->slots[slot]) != 0) {
        if (((Callback *)all->items)[found - 1].key == key) {
            Py_DECREF(function);
            return found - 1;
        }
        slot = index_next(index, slot);
    }
    Callback *made = array_push(all, sizeof *made);
    uint32_t number = (uint32_t)all->used - 1;
    if (made != NULL) {
        *made = (Callback){key, Py_XNewRef(type)};
        if (index_put(index, number, hash_callback, all->items)) {
            PyObject *name = code == NULL ? name_of(function) : NULL;
            uint32_t place = code != NULL ? tables_code(tables, code, PyFunction_GET_GLOBALS(function)) : 0;
            tables_note(tables, NOTE_CALLBACK, number, 0, code != NULL ? (int64_t)place : -1, name);
            Py_XDECREF(name);
        }
    }
    Py_DECREF(function);
    return made != NULL ? number : 0;
}

/* Free everything, with the references to types. */
void
callbacks_free(Callbacks *callbacks)
{
    for (size_t item = 0; item < callbacks->items.used; item++) {
        Py_XDECREF(((Callback *)callbacks->items.items)[item].type);
    }
    array_free(&callbacks->items);
    free(callbacks->index.slots);
}
