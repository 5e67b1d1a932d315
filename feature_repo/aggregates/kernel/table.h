/* What the kernel's tables share: grown-in-place memory, hashing, and an index from hash to row. */
#ifndef HOME_MIXER_TABLE_H
#define HOME_MIXER_TABLE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { OK = 0, NO_MEMORY = -1, TABLE_FULL = -2 };
enum { AHEAD = 32 }; /* rows whose memory is fetched before the first of them is used */

/* Memory for the most rows a table may hold. Pages cost nothing until they are written, and rows never move. */
static void *reserve(uint64_t bytes, int huge) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    if (huge) madvise(memory, bytes, MADV_HUGEPAGE); /* a wish: without it the table is slower, not wrong */
    return memory;
}

static inline uint64_t mix(uint64_t x) { /* finaliser of MurmurHash3 */
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ (x >> 33);
}

/* Open addressing. An entry holds the hash's upper half and the row + 1; 0 is free. Rows are never removed. */
typedef struct {
    uint64_t *entry;
    uint64_t mask;
} Index;

static int index_new(Index *index, uint64_t entries) {
    index->entry = calloc(entries, sizeof(uint64_t));
    index->mask = entries - 1;
    return index->entry ? OK : NO_MEMORY;
}

static inline int index_crowded(const Index *index, uint64_t used) { return used * 2 > index->mask; }

static inline uint64_t index_entry(uint64_t hash, uint64_t row) { return (hash & 0xffffffff00000000ULL) | (row + 1); }

static inline int index_same_hash(uint64_t entry, uint64_t hash) { return (entry ^ hash) >> 32 == 0; }

static inline uint64_t index_row(uint64_t entry) { return (entry & 0xffffffffULL) - 1; }

static inline void index_put_new(Index *index, uint64_t hash, uint64_t row) { /* the key is known to be absent */
    uint64_t at = hash & index->mask;
    while (index->entry[at]) at = (at + 1) & index->mask;
    index->entry[at] = index_entry(hash, row);
}

/* Rows listed since the last time somebody asked. A row carries the round it was listed in, so none is listed twice. */
typedef struct {
    uint32_t *row;
    uint64_t count;
    uint32_t round;
} Listed;

static int listed_new(Listed *listed, uint64_t most) {
    listed->row = reserve(most * sizeof(uint32_t), 0);
    listed->count = 0;
    listed->round = 1;
    return listed->row ? OK : NO_MEMORY;
}

static inline void list_row(Listed *listed, uint32_t *mark, uint64_t row) {
    if (*mark != listed->round) {
        *mark = listed->round;
        listed->row[listed->count++] = (uint32_t)row;
    }
}

static uint64_t listed_take(Listed *listed, uint32_t *out) {
    uint64_t count = listed->count;
    memcpy(out, listed->row, count * sizeof(uint32_t));
    listed->count = 0;
    listed->round++;
    return count;
}

#endif
