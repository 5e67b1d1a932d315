/*
 * Event ids: a 128-bit hash of each (MurmurHash3 x64 128, seed 0, Austin Appleby's public-domain algorithm), and the set of
 * those already applied, with their times so that ids too old to come again can be forgotten.
 */
#include "table.h"

static inline uint64_t rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

static inline uint64_t read64(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static void hash128(const uint8_t *text, uint64_t length, uint64_t out[2]) {
    const uint64_t c1 = 0x87c37b91114253d5ULL, c2 = 0x4cf5ad432745937fULL;
    uint64_t h1 = 0, h2 = 0, blocks = length / 16;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t k1 = read64(text + 16 * i), k2 = read64(text + 16 * i + 8);
        h1 ^= rotate(k1 * c1, 31) * c2;
        h1 = (rotate(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= rotate(k2 * c2, 33) * c1;
        h2 = (rotate(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    uint8_t tail[16] = {0};
    memcpy(tail, text + 16 * blocks, length & 15);
    if ((length & 15) > 8) h2 ^= rotate(read64(tail + 8) * c2, 33) * c1;
    if (length & 15) h1 ^= rotate(read64(tail) * c1, 31) * c2;
    h1 ^= length;
    h2 ^= length;
    h1 += h2;
    h2 += h1;
    h1 = mix(h1);
    h2 = mix(h2);
    h1 += h2;
    h2 += h1;
    out[0] = h1;
    out[1] = h2;
}

/* Hashes of n texts; text i is the bytes from offset[i] to offset[i + 1]. out: (n, 2). */
void hash_texts(uint64_t n, const uint8_t *bytes, const int64_t *offset, uint64_t *out) {
    for (uint64_t i = 0; i < n; i++) hash128(bytes + offset[i], (uint64_t)(offset[i + 1] - offset[i]), out + 2 * i);
}

typedef struct {
    uint64_t low, high;
    int64_t at;
} Id;

/* `id` is in the order of coming; the ids from `kept` on have not been asked for yet. */
typedef struct {
    Id *id;
    uint64_t used, most, kept;
    Index index;
} IdSet;

uint64_t id_bytes(void) { return sizeof(Id); }

IdSet *ids_new(uint64_t most) {
    IdSet *set = calloc(1, sizeof(IdSet));
    if (!set) return NULL;
    set->most = most;
    set->id = reserve(most * sizeof(Id), 1);
    return set->id && index_new(&set->index, 1 << 16) == OK ? set : NULL;
}

void ids_free(IdSet *set) {
    munmap(set->id, set->most * sizeof(Id));
    free(set->index.entry);
    free(set);
}

uint64_t ids_used(const IdSet *set) { return set->used; }
uint64_t ids_kept(const IdSet *set) { return set->kept; }
void *ids_all(IdSet *set) { return set->id; }
void ids_keep(IdSet *set) { set->kept = set->used; }

static int reindex(IdSet *set, uint64_t entries) {
    Index index;
    if (index_new(&index, entries)) return NO_MEMORY;
    for (uint64_t row = 0; row < set->used; row++) index_put_new(&index, set->id[row].low, row);
    free(set->index.entry);
    set->index = index;
    return OK;
}

/* Add n hashes; fresh[i] = 1 where it was not in the set. Returns how many were fresh, NO_MEMORY or TABLE_FULL. */
int64_t ids_add(IdSet *set, uint64_t n, const uint64_t *hash, const int64_t *at, uint8_t *fresh) {
    int64_t added = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (i + AHEAD < n) __builtin_prefetch(&set->index.entry[hash[2 * (i + AHEAD)] & set->index.mask]);
        uint64_t low = hash[2 * i], high = hash[2 * i + 1], place = low & set->index.mask, entry;
        fresh[i] = 1;
        for (; (entry = set->index.entry[place]); place = (place + 1) & set->index.mask) {
            const Id *held = &set->id[index_row(entry)];
            if (index_same_hash(entry, low) && held->low == low && held->high == high) {
                fresh[i] = 0;
                break;
            }
        }
        if (!fresh[i]) continue;
        if (set->used == set->most) return TABLE_FULL;
        set->id[set->used] = (Id){low, high, at[i]};
        set->index.entry[place] = index_entry(low, set->used++);
        added++;
        if (index_crowded(&set->index, set->used + 1) && reindex(set, (set->index.mask + 1) * 4)) return NO_MEMORY;
    }
    return added;
}

/* Forget the ids of events before `before`. Returns how many went, or NO_MEMORY. */
int64_t ids_forget(IdSet *set, int64_t before) {
    uint64_t left = 0, kept = 0;
    for (uint64_t row = 0; row < set->used; row++) {
        if (row == set->kept) kept = left;
        if (set->id[row].at >= before) set->id[left++] = set->id[row];
    }
    if (set->kept >= set->used) kept = left;
    int64_t gone = (int64_t)(set->used - left);
    set->used = left;
    set->kept = kept;
    uint64_t entries = 1 << 16;
    while (left * 4 > entries) entries *= 2;
    return reindex(set, entries) ? NO_MEMORY : gone;
}
