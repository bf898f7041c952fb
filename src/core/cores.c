/* Lists of cores that want to be told of something: borrowed, for a core takes itself out before it goes; without gaps. */
#include "core.h"

/* Put a core into a list, if it is not there; false: there is no room. */
bool
cores_add(Core **list, Core *core)
{
    size_t place = 0;
    while (place < MOST_CORES && list[place] != NULL && list[place] != core) {
        place++;
    }
    if (place == MOST_CORES) {
        return false;
    }
    list[place] = core;
    return true;
}

/* Take a core out of a list, if it is there; the last one takes its place. */
void
cores_remove(Core **list, const Core *core)
{
    size_t place = 0, last = 0;
    while (last < MOST_CORES && list[last] != NULL) {
        place = list[last] == core ? last : place;
        last++;
    }
    if (last > 0 && list[place] == core) {
        list[place] = list[last - 1];
        list[last - 1] = NULL;
    }
}
