/* Tells of the steps of tasks whose loop is compiled, by switches of contexts. */
#ifndef FGTRACE_HOOKS_CONTEXT_SWITCHES_H
#define FGTRACE_HOOKS_CONTEXT_SWITCHES_H

#include "cpython/version_compat.h"

#pragma GCC visibility push(hidden)

void contexts_drop_stale(void);
bool contexts_watch(void);
void contexts_unwatch(void);
void contexts_forget(void);
bool contexts_are_watched(void);

#pragma GCC visibility pop
#endif
