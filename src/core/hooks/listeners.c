/* Whom the hooks tell of what happens in asyncio's loops: the table itself. */
#include "hooks/listeners.h"

Listeners listeners;
