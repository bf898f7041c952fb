/* Lists of cores that want to be told of something: borrowed, for a core takes itself out before it goes; without gaps. */
#include "tasks/watchers.h"

/* Put a core into a list, if it is not there; false: there is no room. */
bool
watchers_add(Tasks **list, Tasks *tasks)
{
    size_t place = 0;
    while (place < MOST_WATCHERS && list[place] != NULL && list[place] != tasks) {
        place++;
    }
    if (place == MOST_WATCHERS) {
        return false;
    }
    list[place] = tasks;
    return true;
}

/* Take a core out of a list, if it is there; the last one takes its place. */
void
watchers_remove(Tasks **list, const Tasks *tasks)
{
    size_t place = 0, last = 0;
    while (last < MOST_WATCHERS && list[last] != NULL) {
        place = list[last] == tasks ? last : place;
        last++;
    }
    if (last > 0 && list[place] == tasks) {
        list[place] = list[last - 1];
        list[last - 1] = NULL;
    }
}
