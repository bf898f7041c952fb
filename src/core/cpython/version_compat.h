/* Hides what differs between the minor versions of CPython: frames, generators, the GIL and how to have its holder make
 * a call, the switch interval, exceptions. An `#if` by version that is about the interpreter, and not about asyncio,
 * belongs here.
 *
 * This file reads structures that CPython does not promise. It is compiled against the very headers of the version it
 * runs on, and `fgtrace._sampling.core_calibration` refuses to work where they do not fit. CPython's
 * InternalDocs/frames.md tells how each version keeps its frames.
 */
#ifndef FGTRACE_CPYTHON_VERSION_COMPAT_H
#define FGTRACE_CPYTHON_VERSION_COMPAT_H

#ifndef Py_BUILD_CORE
#error "Py_BUILD_CORE must be defined before Python.h"
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x03100000
#error "this core knows CPython 3.11 to 3.15"
#endif
#ifdef Py_GIL_DISABLED
#error "this core reads the interpreter under its lock, which this build does not have"
#endif
#ifndef __linux__
#error "this core needs Linux: its clocks, and pthread's monotonic condition"
#endif

#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#include <internal/pycore_ceval.h>
#include <internal/pycore_code.h>
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_interpframe_structs.h>
#else
#include <internal/pycore_frame.h>
#include <internal/pycore_genobject.h>
#endif
#if PY_VERSION_HEX >= 0x030D0000
#include <internal/pycore_tstate.h>
#else
#include <opcode.h>
#endif
#if PY_VERSION_HEX >= 0x030D0000
#include <internal/pycore_traceback.h>
#endif
#include <stdbool.h>
#include <stdint.h>

typedef struct _PyInterpreterFrame Frame;

#if PY_VERSION_HEX >= 0x030E0000
typedef struct _PyGenObject Gen;
#else
typedef PyGenObject Gen;
#endif

#if PY_VERSION_HEX >= 0x030F0000
enum { GEN_CREATED = 0, GEN_YIELD_FROM = 2, GEN_YIELD_FROM_LOCKED = 3, GEN_EXECUTING = 4, GEN_CLEARED = 5 };
#elif PY_VERSION_HEX >= 0x030D0000
enum { GEN_CREATED = -3, GEN_YIELD_FROM = -1, GEN_EXECUTING = 0, GEN_CLEARED = 1 };
#else
enum { GEN_CREATED = -2, GEN_SUSPENDED = -1, GEN_EXECUTING = 0, GEN_CLEARED = 1 };
#endif

/* --- frames --- */

/* Return the innermost frame of a thread, or NULL. */
static inline Frame *
thread_top(PyThreadState *ts)
{
#if PY_VERSION_HEX >= 0x030D0000
    return ts->current_frame;
#else
    return ts->cframe != NULL ? ts->cframe->current_frame : NULL;
#endif
}

/* Return the code object of a frame (borrowed), or NULL for a frame that the interpreter keeps for itself. */
static inline PyCodeObject *
frame_code(Frame *frame)
{
#if PY_VERSION_HEX >= 0x030E0000
    PyObject *code = (PyObject *)(frame->f_executable.bits & ~(uintptr_t)3);
    if (frame->owner >= FRAME_OWNED_BY_INTERPRETER) {
        return NULL;
    }
#elif PY_VERSION_HEX >= 0x030D0000
    PyObject *code = frame->f_executable;
    if (frame->owner == FRAME_OWNED_BY_CSTACK) {
        return NULL;
    }
#elif PY_VERSION_HEX >= 0x030C0000
    PyObject *code = (PyObject *)frame->f_code;
    if (frame->owner == FRAME_OWNED_BY_CSTACK) {
        return NULL;
    }
#else
    PyObject *code = (PyObject *)frame->f_code;
#endif
    return code != NULL && PyCode_Check(code) ? (PyCodeObject *)code : NULL;
}

/* Return the instruction at which a frame is. */
static inline _Py_CODEUNIT *
frame_instruction(Frame *frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    return frame->instr_ptr;
#else
    return frame->prev_instr;
#endif
}

/* Return whether Python code can see a frame: whether it is no shim, and has begun. */
static inline bool
frame_is_complete(Frame *frame, PyCodeObject *code)
{
    return frame->owner == FRAME_OWNED_BY_GENERATOR ||
           frame_instruction(frame) >= _PyCode_CODE(code) + code->_co_firsttraceable;
}

/* Return a frame's `f_lasti`, in bytes; 0 for a frame that has not started. */
static inline uint32_t
frame_offset(Frame *frame, PyCodeObject *code)
{
    ptrdiff_t units = frame_instruction(frame) - _PyCode_CODE(code);
    return units > 0 ? (uint32_t)units * 2 : 0;
}

/* --- generators, coroutines, async generators --- */

/* Return the frame of a generator; it lies in the generator itself. */
static inline Frame *
gen_frame(Gen *gen)
{
#if PY_VERSION_HEX >= 0x030E0000
    return &gen->gi_iframe;
#else
    return (Frame *)gen->gi_iframe;
#endif
}

/* Return what a suspended generator delegates to (borrowed), or NULL. */
static inline PyObject *
gen_delegate(Gen *gen)
{
    Frame *frame = gen_frame(gen);
#if PY_VERSION_HEX >= 0x030F0000
    if (gen->gi_frame_state != GEN_YIELD_FROM && gen->gi_frame_state != GEN_YIELD_FROM_LOCKED) {
        return NULL;
    }
    uintptr_t bits = frame->stackpointer[-2].bits; /* SEND keeps one more slot */
#elif PY_VERSION_HEX >= 0x030E0000
    if (gen->gi_frame_state != GEN_YIELD_FROM) {
        return NULL;
    }
    uintptr_t bits = frame->stackpointer[-1].bits;
#elif PY_VERSION_HEX >= 0x030D0000
    if (gen->gi_frame_state != GEN_YIELD_FROM) {
        return NULL;
    }
    uintptr_t bits = (uintptr_t)frame->localsplus[frame->stacktop - 1];
#else
    if (gen->gi_frame_state != GEN_SUSPENDED) {
        return NULL;
    }
    _Py_CODEUNIT next = frame->prev_instr[1];
#if PY_VERSION_HEX >= 0x030C0000
    bool resumes = next.op.code == RESUME || next.op.code == INSTRUMENTED_RESUME;
    int how = next.op.arg & 3;
#else
    bool resumes = _Py_OPCODE(next) == RESUME || _Py_OPCODE(next) == RESUME_QUICK;
    int how = _Py_OPARG(next);
#endif
    if (!resumes || how < 2) { /* 2: it resumes within a `yield from`; 3: within an `await` */
        return NULL;
    }
    uintptr_t bits = (uintptr_t)frame->localsplus[frame->stacktop - 1];
#endif
    if ((bits & 3) == 3) { /* a tagged number, not a pointer */
        return NULL;
    }
    return (PyObject *)(bits & ~(uintptr_t)3);
}

/* --- who holds the GIL, and how to have the holder take a sample --- */

/* Return whether any thread holds the GIL, as read without it. */
static inline bool
gil_is_taken(PyInterpreterState *interp)
{
#if PY_VERSION_HEX >= 0x030D0000
    return __atomic_load_n(&interp->ceval.gil->locked, __ATOMIC_RELAXED) > 0;
#elif PY_VERSION_HEX >= 0x030C0000
    return _Py_atomic_load_relaxed(&interp->ceval.gil->locked) > 0;
#else
    (void)interp;
    return _Py_atomic_load_relaxed(&_PyRuntime.ceval.gil.locked) > 0;
#endif
}

/* Have the thread that runs Python code make a call at its next check; return false where that cannot be requested.
 *
 * From 3.12 on the queue is the interpreter's, and any of its threads serves it. On 3.11 only the main thread does:
 * where another thread holds the GIL nothing is requested, and `hurry_holder` helps.
 */
static inline bool
request_call(PyInterpreterState *interp, PyThreadState *main_thread, int (*call)(void *), void *argument)
{
    (void)main_thread; /* only 3.11 reads it */
#if PY_VERSION_HEX >= 0x030D0000
    return (int)_PyEval_AddPendingCall(interp, call, argument, 0) == 0;
#elif PY_VERSION_HEX >= 0x030C0000
    return _PyEval_AddPendingCall(interp, call, argument, 0) == 0;
#else
    /* the address is compared and never read: the holder may be gone by now */
    if (_Py_atomic_load_relaxed(&_PyRuntime.ceval.gil.last_holder) != (uintptr_t)main_thread) {
        return false;
    }
    if (_PyEval_AddPendingCall(interp, call, argument) != 0) {
        return false;
    }
    /* The calling thread has no state, so it is not the main thread, and its request alone wakes nobody. */
    _Py_atomic_store_relaxed(&interp->ceval.eval_breaker, 1);
    return true;
#endif
}

/* Return the switch interval, in ns: how long a thread waits for the GIL until it asks for it. */
static inline int64_t
switch_interval_ns(PyInterpreterState *interp)
{
#if PY_VERSION_HEX >= 0x030C0000
    return (int64_t)interp->ceval.gil->interval * 1000;
#else
    (void)interp;
    return (int64_t)_PyRuntime.ceval.gil.interval * 1000;
#endif
}

/* On 3.11, have the holder give the GIL away, which the caller has to take at once; else do nothing. */
static inline void
hurry_holder(PyInterpreterState *interp)
{
#if PY_VERSION_HEX < 0x030C0000
    _Py_atomic_store_relaxed(&interp->ceval.gil_drop_request, 1);
    _Py_atomic_store_relaxed(&interp->ceval.eval_breaker, 1);
#else
    (void)interp;
#endif
}

/* Return the exception that is set (strong), and clear it. */
static inline PyObject *
fetch_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
#endif
}

/* Set an exception, whose reference is stolen. */
static inline void
restore_exception(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

#endif
