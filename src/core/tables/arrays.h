/* Growing arrays, and an index of their items: whatever grows is an `Array`, or goes through `grown`. */
#ifndef FGTRACE_TABLES_ARRAYS_H
#define FGTRACE_TABLES_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

#define NONE UINT32_MAX /* no item */

typedef struct {
    void *items;
    size_t used, room;
} Array;

/* an index: from a hash to the number of an item. The keys lie in the items; a slot is 0 where it is free, else the
 * item's number + 1 */
typedef struct {
    uint32_t *slots;
    uint32_t size, used;
} Index;

typedef uint32_t (*Hash)(void *, uint32_t); /* returns the hash of an item */

void *grown(void *items, size_t *room, size_t used, size_t size);
void *array_push(Array *array, size_t size);
void array_free(Array *array);
bool index_put(Index *index, uint32_t item, Hash hash, void *of);
void index_remove(Index *index, uint32_t item, Hash hash, void *of);
void index_replace(Index *index, uint32_t item, uint32_t by, Hash hash, void *of);
uint32_t hash_of(uint64_t value);

/* Return the first slot in which an item of this hash may be. An index without slots must not be searched. */
static inline uint32_t
index_first(const Index *index, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * index->size >> 32);
}

/* Return the slot that is searched after this one. */
static inline uint32_t
index_next(const Index *index, uint32_t slot)
{
    return slot + 1 < index->size ? slot + 1 : 0;
}

#pragma GCC visibility pop
#endif
