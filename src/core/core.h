/* What one trace has in C, and the rules of all these files; ARCHITECTURE.md tells how they are put together.
 *
 * - Every read of the interpreter's structures happens with the GIL held.
 * - A tick runs no Python code, not even a finalizer's: it allocates nothing that the garbage collector counts but
 *   weak references, the collector is off meanwhile, and nothing is called that looks for signals (``str`` and
 *   ``repr`` do, and from 3.12 on they collect garbage there).
 * - A core keeps strong references to code objects, strings, types and weak references only.
 * - What a tick finds goes into tables, rows and notes, which Python drains between ticks. What needs judgement is
 *   put to Python as a question.
 */
#ifndef FGTRACE_CORE_H
#define FGTRACE_CORE_H

#include "exact/exact_state.h"
#include "tables/pace.h"
#include "tables/tables.h"
#include "tables/walk.h"
#include "tasks/task_table.h"
#include "threads/threads.h"

typedef struct Clock Clock; /* clock/clock.h */

typedef struct {
    PyObject_HEAD
    Tables tables;
    Walk walk;
    Threads threads;
    Tasks tasks;
    Exact *exact; /* NULL without exact awaits */
    Pace pace;
    Clock *clock;
    int64_t tick_budget; /* ns that the tasks of one tick may take */
} Core;

#endif
