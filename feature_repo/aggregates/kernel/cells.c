/*
 * The cell table: one cell per (key, measure), updated by every event of its key. See ../cells.py for what a cell means;
 * the struct below is its layout. An update reads its key's place in the index and the cell: memory is the cost, so rows are
 * worked on in blocks whose memory is asked for before the first of them is used.
 */
#include "table.h"

#include <math.h>

enum { WINDOWS = 6, BUCKETS = 5, DISTINCT = 2 };
enum { COUNTED = 0, VALUED = 1, UNDATED = 2 }; /* kinds of update */

#define SECOND 1000000LL
#define HALF_LIVES 256.0
static const int64_t SPAN[WINDOWS] = {300 * SECOND, 1800 * SECOND, 7200 * SECOND, 86400 * SECOND, 604800 * SECOND, 4320000 * SECOND};

typedef struct {
    int64_t a, b, newest;
    double total, faded[WINDOWS];
    int32_t bucket[WINDOWS];
    uint32_t ring[WINDOWS][BUCKETS];
    uint32_t distinct[DISTINCT];
    uint16_t era[WINDOWS];
    uint8_t measure, padding[3];
    uint32_t shown, saved;
} Cell;
_Static_assert(sizeof(Cell) == 256, "a cell is four cache lines");

/* What one event does to one measure, worked out once for all families. */
typedef struct {
    int64_t at;
    double amount, weight[WINDOWS]; /* weight: amount x 2^((at - landmark) / half-life) */
    int32_t bucket[WINDOWS];
    uint16_t era[WINDOWS];
    uint8_t place[WINDOWS]; /* bucket % BUCKETS */
    uint8_t measure, kind;
    uint32_t event;
} Update;

typedef struct {
    Cell *cell;
    uint64_t used, most;
    Index index;
    Listed shown, saved;
} Table;

uint64_t cell_bytes(void) { return sizeof(Cell); }
uint64_t update_bytes(void) { return sizeof(Update); }
int64_t window_span(uint64_t window) { return window < WINDOWS ? SPAN[window] : -1; }

Table *table_new(uint64_t most) {
    Table *table = calloc(1, sizeof(Table));
    if (!table) return NULL;
    table->most = most;
    table->cell = reserve(most * sizeof(Cell), 1);
    if (!table->cell || index_new(&table->index, 1 << 12) || listed_new(&table->shown, most) || listed_new(&table->saved, most))
        return NULL;
    return table;
}

void table_free(Table *table) {
    munmap(table->cell, table->most * sizeof(Cell));
    munmap(table->shown.row, table->most * sizeof(uint32_t));
    munmap(table->saved.row, table->most * sizeof(uint32_t));
    free(table->index.entry);
    free(table);
}

void *table_cells(Table *table) { return table->cell; }
uint64_t table_used(const Table *table) { return table->used; }
uint64_t table_listed(const Table *table, int saved) { return (saved ? &table->saved : &table->shown)->count; }
uint64_t table_take(Table *table, int saved, uint32_t *out) { return listed_take(saved ? &table->saved : &table->shown, out); }

static inline uint64_t key_hash(int64_t a, int64_t b, uint8_t measure) {
    uint64_t h = (uint64_t)a * 0x9e3779b97f4a7c15ULL;
    h ^= (uint64_t)b * 0xc2b2ae3d27d4eb4fULL + (h << 23 | h >> 41);
    return mix(h + (uint64_t)measure * 0x165667b19e3779f9ULL);
}

static int grow_index(Table *table) {
    Index grown;
    if (index_new(&grown, (table->index.mask + 1) * 2)) return NO_MEMORY;
    for (uint64_t row = 0; row < table->used; row++) {
        const Cell *cell = &table->cell[row];
        index_put_new(&grown, key_hash(cell->a, cell->b, cell->measure), row);
    }
    free(table->index.entry);
    table->index = grown;
    return OK;
}

static inline int64_t find(const Table *table, uint64_t hash, int64_t a, int64_t b, uint8_t measure) {
    for (uint64_t at = hash & table->index.mask;; at = (at + 1) & table->index.mask) {
        uint64_t entry = table->index.entry[at];
        if (!entry) return -1;
        if (!index_same_hash(entry, hash)) continue;
        const Cell *cell = &table->cell[index_row(entry)];
        if (cell->a == a && cell->b == b && cell->measure == measure) return (int64_t)index_row(entry);
    }
}

/* Row of a new, empty cell, or TABLE_FULL / NO_MEMORY. */
static int64_t add(Table *table, uint64_t hash, int64_t a, int64_t b, uint8_t measure) {
    if (table->used == table->most) return TABLE_FULL;
    if (index_crowded(&table->index, table->used + 1) && grow_index(table)) return NO_MEMORY;
    uint64_t row = table->used++;
    Cell *cell = &table->cell[row];
    cell->a = a;
    cell->b = b;
    cell->measure = measure;
    index_put_new(&table->index, hash, row);
    return (int64_t)row;
}

static inline void touch(Table *table, uint64_t row) {
    list_row(&table->shown, &table->cell[row].shown, row);
    list_row(&table->saved, &table->cell[row].saved, row);
}

/* ---- preparing updates ------------------------------------------------------------------------------------------- */

/* 2^x for x in [0, 257), to a double's last bit or two: 2^whole x e^(fraction ln 2), Taylor to the 13th power. */
static inline double power_of_two(double x) {
    int64_t whole = (int64_t)(x + 0.5);
    double t = (x - (double)whole) * 0.693147180559945309417; /* |t| <= 0.347 */
    double sum = 1.0 / 6227020800.0;
    sum = sum * t + 1.0 / 479001600.0;
    sum = sum * t + 1.0 / 39916800.0;
    sum = sum * t + 1.0 / 3628800.0;
    sum = sum * t + 1.0 / 362880.0;
    sum = sum * t + 1.0 / 40320.0;
    sum = sum * t + 1.0 / 5040.0;
    sum = sum * t + 1.0 / 720.0;
    sum = sum * t + 1.0 / 120.0;
    sum = sum * t + 1.0 / 24.0;
    sum = sum * t + 1.0 / 6.0;
    sum = sum * t + 0.5;
    sum = sum * t + 1.0;
    sum = sum * t + 1.0;
    uint64_t bits = (uint64_t)(whole + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

static inline void prepare_one(Update *update, int64_t at, uint32_t event, uint8_t measure, uint8_t kind, double amount) {
    update->at = at;
    update->event = event;
    update->measure = measure;
    update->kind = kind;
    update->amount = amount;
    if (kind == UNDATED) { /* no window remembers it */
        memset(update->bucket, 0, sizeof update->bucket);
        memset(update->era, 0, sizeof update->era);
        return;
    }
#pragma GCC unroll 6
    for (int w = 0; w < WINDOWS; w++) {
        int64_t span = SPAN[w], era = at / (span * (int64_t)HALF_LIVES), bucket = at / (span / BUCKETS);
        update->era[w] = (uint16_t)era;
        update->bucket[w] = (int32_t)bucket;
        update->place[w] = (uint8_t)(bucket % BUCKETS);
        update->weight[w] = amount * power_of_two((double)(at - era * span * (int64_t)HALF_LIVES) / (double)span);
    }
}

/* Two events at the same moment have the same windows: events come in order of time, so the one before often serves. */
static inline void prepare_like(Update *update, const Update *before, uint32_t event, uint8_t measure, uint8_t kind, double amount) {
    double ratio = amount / before->amount;
    *update = *before;
    update->event = event;
    update->measure = measure;
    update->kind = kind;
    update->amount = amount;
    for (int w = 0; w < WINDOWS; w++) update->weight[w] *= ratio;
}

/*
 * Updates of n events, at most two each. measure: the counted or undated measure, 255 none; valued: the valued measure, 255 none,
 * with amount[i] added; undated[i]: 1 where only an upper bound of the time is known. Returns the updates written.
 */
uint64_t prepare(uint64_t n, const int64_t *at, const uint8_t *measure, const uint8_t *valued, const double *amount,
                 const uint8_t *undated, Update *out) {
    uint64_t made = 0;
    const Update *counted = NULL; /* the newest counted update: amount 1 */
    for (uint64_t i = 0; i < n; i++) {
        if (measure[i] == 255) continue;
        Update *update = &out[made++];
        if (undated[i]) {
            prepare_one(update, at[i], (uint32_t)i, measure[i], UNDATED, 1.0);
            continue;
        }
        if (counted && counted->at == at[i]) prepare_like(update, counted, (uint32_t)i, measure[i], COUNTED, 1.0);
        else prepare_one(update, at[i], (uint32_t)i, measure[i], COUNTED, 1.0);
        counted = update;
        if (valued[i] != 255) prepare_like(&out[made++], counted, (uint32_t)i, valued[i], VALUED, amount[i]);
    }
    return made;
}

/* ---- applying updates -------------------------------------------------------------------------------------------- */

static const double ERA_STEP[4] = {1.0, 0x1p-256, 0x1p-512, 0x1p-768};

static inline double eras_later(double sum, int eras) { return eras < 4 ? sum * ERA_STEP[eras] : 0.0; }

static void fade_across_eras(Cell *cell, const Update *update) {
    for (int w = 0; w < WINDOWS; w++) {
        int ahead = (int)update->era[w] - (int)cell->era[w];
        if (ahead <= 0) {
            cell->faded[w] += eras_later(update->weight[w], -ahead);
        } else {
            cell->faded[w] = eras_later(cell->faded[w], ahead) + update->weight[w];
            cell->era[w] = update->era[w];
        }
    }
}

static inline void count_in_ring(Cell *cell, const Update *update, int w) {
    int32_t ahead = update->bucket[w] - cell->bucket[w];
    if (ahead > 0) { /* the places of the buckets that begin now hold old ones */
        if (ahead >= BUCKETS) memset(cell->ring[w], 0, sizeof cell->ring[w]);
        else
            for (int32_t bucket = cell->bucket[w] + 1; bucket <= update->bucket[w]; bucket++) cell->ring[w][bucket % BUCKETS] = 0;
        cell->bucket[w] = update->bucket[w];
    }
    if (ahead > -BUCKETS) cell->ring[w][update->place[w]]++;
}

static inline void update_cell(Cell *cell, const Update *update) {
    cell->total += update->amount;
    if (update->at > cell->newest) cell->newest = update->at;
    if (update->kind == UNDATED) return;
    if (memcmp(cell->era, update->era, sizeof cell->era) == 0)
        for (int w = 0; w < WINDOWS; w++) cell->faded[w] += update->weight[w];
    else fade_across_eras(cell, update);
    if (update->kind == COUNTED) {
        if (memcmp(cell->bucket, update->bucket, sizeof cell->bucket) == 0)
            for (int w = 0; w < WINDOWS; w++) cell->ring[w][update->place[w]]++;
        else
            for (int w = 0; w < WINDOWS; w++) count_in_ring(cell, update, w);
    }
}

/* What is known of an update before its turn comes: its key, hashed. */
typedef struct {
    uint64_t hash;
    int64_t a, b;
} Key;

/* Hash the keys of a block, and ask for the memory of their places in the index. */
static void meet_keys(const Table *table, uint64_t block, const Update *update, const int64_t *a, const int64_t *b, Key *key) {
    for (uint64_t i = 0; i < block; i++) {
        uint32_t event = update[i].event;
        key[i].a = a[event];
        key[i].b = b ? b[event] : 0;
        key[i].hash = key_hash(key[i].a, key[i].b, update[i].measure);
        __builtin_prefetch(&table->index.entry[key[i].hash & table->index.mask]);
    }
}

/* Ask for the memory of the cells that a block's keys are likely to be in: a guess, so that the index may still change. */
static void call_cells(const Table *table, uint64_t block, const Key *key) {
    for (uint64_t i = 0; i < block; i++) {
        uint64_t entry = table->index.entry[key[i].hash & table->index.mask];
        if (!entry || !index_same_hash(entry, key[i].hash)) continue;
        const char *cell = (const char *)&table->cell[index_row(entry)];
        for (int line = 0; line < 4; line++) __builtin_prefetch(cell + 64 * line, 1);
    }
}

/* Apply a block's updates; rows of new cells go to `created`. Returns how many, or NO_MEMORY / TABLE_FULL. */
static int64_t apply_block(Table *table, uint64_t block, const Update *update, const Key *key, const uint8_t *skip, uint32_t *created) {
    int64_t new_cells = 0;
    for (uint64_t i = 0; i < block; i++) {
        if (skip && skip[update[i].event]) continue;
        int64_t row = find(table, key[i].hash, key[i].a, key[i].b, update[i].measure);
        if (row < 0) {
            row = add(table, key[i].hash, key[i].a, key[i].b, update[i].measure);
            if (row < 0) return row;
            memcpy(table->cell[row].era, update[i].era, sizeof update[i].era);
            if (update[i].kind == COUNTED) memcpy(table->cell[row].bucket, update[i].bucket, sizeof update[i].bucket);
            created[new_cells++] = (uint32_t)row;
        }
        update_cell(&table->cell[row], &update[i]);
        touch(table, (uint64_t)row);
    }
    return new_cells;
}

static inline uint64_t block_at(uint64_t n, uint64_t block) {
    uint64_t start = block * AHEAD;
    return start >= n ? 0 : n - start < AHEAD ? n - start : AHEAD;
}

/*
 * Apply n updates. a, b, skip are by event (b and skip may be NULL: no second id, none skipped). Rows of new cells go to
 * `created` (room for n). Returns how many, or NO_MEMORY / TABLE_FULL; the table is then half updated and must be dropped.
 * Three blocks are under way at a time: while one is applied, the next one's cells and the one after's index are on their way.
 */
int64_t table_apply(Table *table, uint64_t n, const Update *update, const int64_t *a, const int64_t *b, const uint8_t *skip,
                    uint32_t *created) {
    Key key[3][AHEAD];
    int64_t new_cells = 0;
    meet_keys(table, block_at(n, 0), update, a, b, key[0]);
    meet_keys(table, block_at(n, 1), update + AHEAD, a, b, key[1]);
    call_cells(table, block_at(n, 0), key[0]);
    for (uint64_t block = 0; block_at(n, block); block++) {
        const Update *first = update + block * AHEAD;
        meet_keys(table, block_at(n, block + 2), first + 2 * AHEAD, a, b, key[(block + 2) % 3]);
        call_cells(table, block_at(n, block + 1), key[(block + 1) % 3]);
        int64_t added = apply_block(table, block_at(n, block), first, key[block % 3], skip, created + new_cells);
        if (added < 0) return added;
        new_cells += added;
    }
    return new_cells;
}

/* Count a first meeting for each new cell of a pair table, in its first (or second) id's cell of the same measure. */
void table_meet(Table *single, const Table *pair, uint64_t n, const uint32_t *created, int second, int place, uint8_t measures) {
    for (uint64_t i = 0; i < n; i++) {
        const Cell *met = &pair->cell[created[i]];
        if (met->measure >= measures) continue; /* only counted measures are counted by their first meeting */
        int64_t id = second ? met->b : met->a;
        int64_t row = find(single, key_hash(id, 0, met->measure), id, 0, met->measure);
        if (row < 0) continue;
        single->cell[row].distinct[place]++;
        touch(single, (uint64_t)row);
    }
}

/* Row of each (a, b, measure), -1 where there is none. */
void table_find(const Table *table, uint64_t n, const int64_t *a, const int64_t *b, const uint8_t *measure, int64_t *out) {
    for (uint64_t i = 0; i < n; i++) {
        int64_t second = b ? b[i] : 0;
        out[i] = find(table, key_hash(a[i], second, measure[i]), a[i], second, measure[i]);
    }
}

/* Row of each of the first `measures` measures of n keys, -1 where there is none: out[key x measures + measure]. */
void table_find_keys(const Table *table, uint64_t n, const int64_t *a, const int64_t *b, uint64_t measures, int64_t *out) {
    uint64_t hash[256];
    for (uint64_t i = 0; i < n; i++, out += measures) {
        int64_t second = b ? b[i] : 0;
        for (uint64_t m = 0; m < measures; m++) {
            hash[m] = key_hash(a[i], second, (uint8_t)m);
            __builtin_prefetch(&table->index.entry[hash[m] & table->index.mask]);
        }
        for (uint64_t m = 0; m < measures; m++) { /* what `find` compares lies in a cell's first and last line */
            uint64_t entry = table->index.entry[hash[m] & table->index.mask];
            if (!entry || !index_same_hash(entry, hash[m])) continue;
            const char *cell = (const char *)&table->cell[index_row(entry)];
            __builtin_prefetch(cell);
            __builtin_prefetch(cell + 192);
        }
        for (uint64_t m = 0; m < measures; m++) out[m] = find(table, hash[m], a[i], second, (uint8_t)m);
    }
}

/* Which measures and windows make a ranking state; its columns are windows x sums, then totals, then ages. */
typedef struct {
    uint64_t measures; /* rows of a key */
    uint64_t windows, sums, totals, ages;
    const int8_t *window; /* a cell's window, or -1: the total */
    const uint8_t *sum, *total, *age; /* measures */
    double never; /* an age before the first event */
} StateLayout;

/*
 * The ranking state of n keys as of the newest event of each. rows: as table_find_keys gives them; out: n states; updated_at:
 * the times they are as of, 0 for keys without a cell.
 */
void table_states(const Table *table, uint64_t n, const int64_t *rows, const StateLayout *layout, double *out, int64_t *updated_at) {
    uint64_t width = layout->windows * layout->sums + layout->totals + layout->ages;
    for (uint64_t i = 0; i < n; i++, rows += layout->measures, out += width) {
        int64_t now = 0;
        for (uint64_t m = 0; i + 2 < n && m < layout->measures; m++) { /* sums lie in a cell's first two lines, eras in its last */
            const char *soon = (const char *)&table->cell[rows[2 * layout->measures + m]];
            if (rows[2 * layout->measures + m] < 0) continue;
            for (int line = 0; line < 4; line += line ? 2 : 1) __builtin_prefetch(soon + 64 * line);
        }
        for (uint64_t m = 0; m < layout->measures; m++)
            if (rows[m] >= 0 && table->cell[rows[m]].newest > now) now = table->cell[rows[m]].newest;
        updated_at[i] = now;
        double *column = out;
        for (uint64_t w = 0; w < layout->windows; w++)
            for (uint64_t s = 0; s < layout->sums; s++, column++) {
                int64_t row = rows[layout->sum[s]];
                int window = layout->window[w];
                if (row < 0) *column = 0.0;
                else if (window < 0) *column = table->cell[row].total;
                else {
                    const Cell *cell = &table->cell[row];
                    int64_t landmark = (int64_t)cell->era[window] * SPAN[window] * (int64_t)HALF_LIVES;
                    *column = cell->faded[window] * exp2(-((double)(now - landmark) / (double)SPAN[window]));
                }
            }
        for (uint64_t t = 0; t < layout->totals; t++) {
            int64_t row = rows[layout->total[t]];
            *column++ = row < 0 ? 0.0 : table->cell[row].total;
        }
        for (uint64_t t = 0; t < layout->ages; t++) {
            int64_t row = rows[layout->age[t]];
            int seen = row >= 0 && table->cell[row].total > 0;
            *column++ = seen ? (double)(now - table->cell[row].newest) / (double)SECOND : layout->never;
        }
    }
}

/* Put n cells into the table, each in its key's place; what was there is replaced. Returns 0, NO_MEMORY or TABLE_FULL. */
int64_t table_restore(Table *table, uint64_t n, const Cell *cell) {
    for (uint64_t i = 0; i < n; i++) {
        uint64_t hash = key_hash(cell[i].a, cell[i].b, cell[i].measure);
        int64_t row = find(table, hash, cell[i].a, cell[i].b, cell[i].measure);
        if (row < 0) row = add(table, hash, cell[i].a, cell[i].b, cell[i].measure);
        if (row < 0) return row;
        table->cell[row] = cell[i];
        table->cell[row].shown = table->cell[row].saved = 0;
    }
    return OK;
}
