/* An entry of a table of methods, whatever signature the function has. */
#ifndef FGTRACE_PYTHON_METHOD_H
#define FGTRACE_PYTHON_METHOD_H

#define METHOD(name, function, how) {name, (PyCFunction)(void (*)(void))function, how, NULL}

#endif
