/* Lists of the task tables that are told of something. A list borrows the tables, since each is taken out before it is
 * freed. A list has no gaps. */
#include "tasks/watchers.h"

/* Put a core's tasks into a list, unless they are there; return false where there is no room. */
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

/* Take a core's tasks out of a list, if they are there; the last entry moves to their place. */
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
