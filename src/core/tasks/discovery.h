/* Finds the tasks of this interpreter in asyncio's own sets and lists. */
#ifndef FGTRACE_TASKS_DISCOVERY_H
#define FGTRACE_TASKS_DISCOVERY_H

#include "tasks/task_table.h"

#pragma GCC visibility push(hidden)

#define SEARCH_SHARE 20 /* a search that took long is made again only after this times its length */

void tasks_discover(Tasks *tasks, int64_t now, int64_t until);
void tasks_discover_here(Tasks *tasks, int64_t now);
bool tasks_may_be_new(PyObject *loop, const void **newest, int64_t *next_search, int64_t now);
void tasks_note_search(const Tasks *tasks, int64_t *next_search, int64_t began);
void discovery_free(Tasks *tasks);

#pragma GCC visibility pop
#endif
