/* Reads objects without running the program's code. */
#include "cpython/inspect.h"

/* Return an attribute (strong) that is read without a descriptor, or by a member descriptor (of `__slots__`, or of a
 * type of C); NULL without an exception where there is none, or where reading it might run Python code. */
PyObject *
inspect_attribute(PyObject *object, const char *name)
{
    PyObject *key = PyUnicode_InternFromString(name), *found = NULL;
    if (key != NULL) {
        PyObject *of_type = _PyType_Lookup(Py_TYPE(object), key); /* borrowed */
        if (of_type == NULL || Py_IS_TYPE(of_type, &PyMemberDescr_Type) ||
            Py_TYPE(of_type)->tp_descr_get == NULL) {
            found = PyObject_GenericGetAttr(object, key);
        }
        Py_DECREF(key);
    }
    PyErr_Clear();
    return found;
}

/* Return the dict of a type (strong), or NULL with an exception. */
static PyObject *
dict_of(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyType_GetDict(type);
#else
    return Py_XNewRef(type->tp_dict);
#endif
}

/* Return "module.qualname" of a class (strong): of a static type, what its name says; of a class without a module, the
 * qualname. The metaclass is not asked. NULL without an exception. */
PyObject *
inspect_class_name(PyTypeObject *type)
{
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        PyObject *name = PyUnicode_FromString(type->tp_name);
        PyErr_Clear();
        return name;
    }
    PyObject *dict = dict_of(type), *qualname = ((PyHeapTypeObject *)type)->ht_qualname;
    PyObject *module = dict != NULL ? PyDict_GetItemString(dict, "__module__") : NULL; /* borrowed */
    PyObject *name = NULL;
    if (module != NULL && PyUnicode_Check(module) && qualname != NULL) {
        name = PyUnicode_FromFormat("%U.%U", module, qualname);
    }
    else if (qualname != NULL) {
        name = Py_NewRef(qualname);
    }
    Py_XDECREF(dict);
    PyErr_Clear();
    return name;
}
