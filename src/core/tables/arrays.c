/* Growing arrays, and an index of their items: a hash table with open addressing, whose keys lie in the items. */
#include "tables/arrays.h"
#include <stdlib.h>
#include <string.h>

/* Return an array's memory, made larger where it has no room for one more item; NULL without memory. */
void *
grown(void *items, size_t *room, size_t used, size_t size)
{
    if (used < *room) {
        return items;
    }
    size_t wanted = *room ? *room * 2 : 64;
    void *found = realloc(items, wanted * size);
    if (found != NULL) {
        *room = wanted;
    }
    return found;
}

/* Return a new last item, zeroed; NULL without memory. */
void *
array_push(Array *array, size_t size)
{
    void *items = grown(array->items, &array->room, array->used, size);
    if (items == NULL) {
        return NULL;
    }
    array->items = items;
    void *item = (char *)items + array->used++ * size;
    memset(item, 0, size);
    return item;
}

/* Free the items; the array is empty then. */
void
array_free(Array *array)
{
    free(array->items);
    *array = (Array){0};
}

/* Return a hash of a number: the finalizer of MurmurHash3. */
uint32_t
hash_of(uint64_t value)
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdULL;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ULL;
    return (uint32_t)(value >> 32);
}

/* Put an item into the first free slot from its hash on. */
static void
place(Index *index, uint32_t item, uint32_t hash)
{
    uint32_t slot = index_first(index, hash);
    while (index->slots[slot] != 0) {
        slot = index_next(index, slot);
    }
    index->slots[slot] = item + 1;
}

/* Put an item into the first free slot from its hash on; at least a quarter of the slots stays free. Return false
 * without memory. */
bool
index_put(Index *index, uint32_t item, Hash hash, void *of)
{
    if ((index->used + 1) * 4ULL > index->size * 3ULL) {
        Index more = {NULL, index->size ? index->size + index->size / 2 : 8, index->used};
        more.slots = calloc(more.size, sizeof *more.slots);
        if (more.slots == NULL) {
            return false;
        }
        for (uint32_t slot = 0; slot < index->size; slot++) {
            if (index->slots[slot] != 0) {
                place(&more, index->slots[slot] - 1, hash(of, index->slots[slot] - 1));
            }
        }
        free(index->slots);
        *index = more;
    }
    place(index, item, hash(of, item));
    index->used++;
    return true;
}

/* Return the slot of an item that is in the index. */
static uint32_t
slot_of(const Index *index, uint32_t item, uint32_t hash)
{
    uint32_t slot = index_first(index, hash);
    while (index->slots[slot] != item + 1) {
        slot = index_next(index, slot);
    }
    return slot;
}

/* Take an item out, and move up the items that had found its slot taken. */
void
index_remove(Index *index, uint32_t item, Hash hash, void *of)
{
    uint32_t slot = slot_of(index, item, hash(of, item)), next = slot;
    for (;;) {
        next = index_next(index, next);
        if (index->slots[next] == 0) {
            break;
        }
        uint32_t home = index_first(index, hash(of, index->slots[next] - 1));
        uint32_t from_home = next >= home ? next - home : next + index->size - home;
        uint32_t from_slot = next >= slot ? next - slot : next + index->size - slot;
        if (from_home >= from_slot) {
            index->slots[slot] = index->slots[next];
            slot = next;
        }
    }
    index->slots[slot] = 0;
    index->used--;
}

/* Put the number `by` into the slot of an item that has moved to that number: its hash is the same. */
void
index_replace(Index *index, uint32_t item, uint32_t by, Hash hash, void *of)
{
    index->slots[slot_of(index, item, hash(of, item))] = by + 1;
}
