/* Whom the hooks tell of what happens in asyncio. */
#include "hooks/listeners.h"

Listeners listeners;
