/* Exact awaits: the traces that have them, the loops, and the steps under way: the variables themselves. */
#include "exact/exact_state.h"

ExactState exact_state;
_Thread_local OpenStep *current_step __attribute__((tls_model("initial-exec")));
