/* Growing arrays, and an index of what is in them. */
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

typedef struct { /* from a hash to an item of a table: open addressing, keys are kept elsewhere; 0: free, else item + 1 */
    uint32_t *slots;
    uint32_t size, used;
} Index;

typedef uint32_t (*Hash)(void *, uint32_t); /* of an item of a table */

void *grown(void *items, size_t *room, size_t used, size_t size); /* with room for one more; NULL: no memory */
void *array_push(Array *array, size_t size); /* zeroed; NULL: no memory */
void array_free(Array *array);
bool index_put(Index *index, uint32_t item, Hash hash, void *of); /* false: no memory */
void index_remove(Index *index, uint32_t item, Hash hash, void *of);
void index_replace(Index *index, uint32_t item, uint32_t by, Hash hash, void *of);
uint32_t hash_of(uint64_t value);

/* The first slot of a hash, and the one after a slot; an index that has none is asked nothing. */
static inline uint32_t
index_first(const Index *index, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * index->size >> 32);
}

static inline uint32_t
index_next(const Index *index, uint32_t slot)
{
    return slot + 1 < index->size ? slot + 1 : 0;
}

#pragma GCC visibility pop
#endif
