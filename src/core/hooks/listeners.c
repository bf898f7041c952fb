/* Whom the hooks tell of what happens in asyncio's loops. */
#include "hooks/listeners.h"

Listeners listeners;
