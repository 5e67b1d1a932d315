/* A request: its context, by one thread; its candidates block by block, by some threads that each take the next one there is. */
#include <stdatomic.h>
#include <stdlib.h>

#include "helpers.h"
#include "ranker.h"

enum { NO_MEMORY = -1, NO_SUCH_ROW = -2 };

typedef struct {
    const Ranker *ranker;
    const Context *context;
    const Candidates *asked;
    BlockPass *pass;
    int64_t threads;
    atomic_llong next;
} Work;

size_t ranker_bytes(void) { return sizeof(Ranker); }
size_t tables_bytes(void) { return sizeof(Tables); }
size_t history_bytes(void) { return sizeof(History); }
size_t context_bytes(void) { return sizeof(Context); }
size_t candidates_bytes(void) { return sizeof(Candidates); }

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* Of block_pass.h's and context_pass.h's scratch: all but the tokens' part is their `laid_out`. */
static size_t scratch_floats(const Ranker *ranker, const Context *context) {
    size_t d = ranker->d, joined = d + ranker->hidden, tokens = context->tokens;
    return BLOCK * (joined + d + 3 * d + most(joined, ranker->matched) + most(ranker->ffn, ranker->tower) + most(tokens, ranker->outputs)) +
           tokens;
}

static float *room(size_t floats) { return aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64); }

/* 4: AVX-512, 3: AVX2, 0: neither. */
int best_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return 4;
    if (__builtin_cpu_supports("x86-64-v3")) return 3;
#endif
    return 0;
}

/* Asks for the rows of `count` candidates from `first` on, which lie all over their tables, while others are computed. */
static void look_ahead(const Ranker *ranker, const Candidates *asked, int64_t first, int64_t count) {
    enum { LINE = 64 / sizeof(float) };
    if (first + count > asked->count) count = asked->count - first;
    for (int64_t place = first; place < first + count; place++) {
        const int64_t row = asked->row ? asked->row[place] : place;
        const float *projected = asked->projected + row * ranker->hidden, *item = asked->items + row * ranker->d;
        for (int c = 0; c < ranker->hidden; c += LINE) __builtin_prefetch(projected + c, 0, 2);
        for (int c = 0; c < ranker->d; c += LINE) __builtin_prefetch(item + c, 0, 2);
    }
}

/* A thread without memory for its scratch leaves all blocks to the others. */
static void take_blocks(void *argument) {
    Work *work = argument;
    float *scratch = room(scratch_floats(work->ranker, work->context));
    if (!scratch) return;
    for (;;) {
        int64_t first = atomic_fetch_add(&work->next, BLOCK), left = work->asked->count - first;
        if (left <= 0) break;
        look_ahead(work->ranker, work->asked, first + work->threads * BLOCK, BLOCK);
        work->pass(work->ranker, work->context, work->asked, first, left < BLOCK ? (int)left : BLOCK, scratch);
    }
    free(scratch);
}

/* 0, or NO_MEMORY where no thread had any. `level` is best_level's or a lower one. */
int rank(const Ranker *ranker, const Context *context, const Candidates *asked, int threads, int level) {
    const int64_t blocks = (asked->count + BLOCK - 1) / BLOCK;
    if (threads > blocks) threads = (int)blocks;
    Work work = {ranker, context, asked, level >= 4 ? block_pass_v4 : level == 3 ? block_pass_v3 : block_pass_any, threads, 0};
    together(take_blocks, &work, threads);
    return atomic_load(&work.next) < asked->count ? NO_MEMORY : 0;
}

static int all_there(const Tables *tables, const History *history) {
    for (int i = 0; i < TABLES; i++)
        for (int t = 0; t < history->length; t++) {
            int32_t row = history->rows[(long)i * history->length + t];
            if (row < 0 || row >= tables->rows[i]) return 0;
        }
    for (int t = 0; t < history->length; t++)
        if (history->age[t] < 0 || history->age[t] >= tables->ages) return 0;
    return 1;
}

/* 0, NO_MEMORY, or NO_SUCH_ROW where the history names a row that a table does not have. */
int encode(const Ranker *ranker, const Tables *tables, const History *history, const Context *context, int level) {
    if (!all_there(tables, history)) return NO_SUCH_ROW;
    float *scratch = room(scratch_floats(ranker, context));
    if (!scratch) return NO_MEMORY;
    (level >= 4 ? context_pass_v4 : level == 3 ? context_pass_v3 : context_pass_any)(ranker, tables, history, context, scratch);
    free(scratch);
    return 0;
}
