/* An entry of a table of methods, whatever the signature of the function. */
#ifndef FGTRACE_PYTHON_METHOD_H
#define FGTRACE_PYTHON_METHOD_H

#define METHOD(name, function, how) {name, (PyCFunction)(void (*)(void))function, how, NULL}

#endif
