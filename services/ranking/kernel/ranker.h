/* The packed ranker and one request, as Python fills them in (services/ranking/kernel/__init__.py; keep the two alike).

   Every width is a multiple of 16. A packed matrix, K inputs to N outputs, is N / PACK (rounded up) panels, one after the other,
   of (K, PACK) numbers.
   Scales and shifts of layer norms are folded into the matrix behind them, the attention's scale into the queries. */
#ifndef RANKER_H
#define RANKER_H
#include <stdint.h>

enum { MOST_LAYERS = 8, BLOCK = 48 }; /* BLOCK: candidates that go through all layers together, while they are in the cache */
enum { PACK = 8 };                    /* outputs that lie together in a packed matrix */
enum { TABLES = 7 };                  /* of an exposure: post, author, topic, actions, product, gap, dwell */

typedef struct {
    const float *qkv, *qkv_bias;   /* d -> 3 d: queries, keys, values */
    const float *out, *out_bias;   /* d -> d */
    const float *up, *up_bias;     /* d -> ffn */
    const float *down, *down_bias; /* ffn -> d */
} Layer;

typedef struct {
    int32_t d, heads, layers, hidden, ffn, tower, matched, outputs; /* outputs <= 72 */
    const float *match;                   /* matched -> hidden: the blocks that are of this user and this candidate */
    const float *narrow, *narrow_bias;    /* hidden -> d */
    const float *tower_up, *tower_bias;   /* d + hidden -> tower */
    const float *last, *last_bias;        /* tower -> outputs */
    Layer layer[MOST_LAYERS];
} Ranker;

typedef struct {
    int32_t rows[TABLES], ages;
    const float *table[TABLES];           /* (rows, d) each */
    const float *age_bias[MOST_LAYERS];   /* (ages, heads): on the logit of an exposure of that age */
} Tables;

typedef struct {
    int32_t length, absent;               /* absent: the age that says that there is no exposure */
    const int32_t *rows;                  /* (TABLES, length): of each exposure, the oldest first, in each table */
    const int32_t *age;                   /* (length,) */
    const float *user;                    /* (d,): the user's token */
} History;

typedef struct {
    int32_t tokens;
    const float *keys[MOST_LAYERS];       /* by head: packed, d / heads to tokens */
    const float *values[MOST_LAYERS];     /* by head: packed, tokens to d / heads */
    const float *bias[MOST_LAYERS];       /* by head: tokens numbers, far below zero where there is no token */
} Context;

/* Numbers of a head's packed keys and values. */
static inline long keys_size(const Context *context, int width) { return (long)(context->tokens + PACK - 1) / PACK * PACK * width; }
static inline long values_size(const Context *context, int width) { return (long)context->tokens * width; }

typedef struct {
    int64_t count;
    const int32_t *row;                   /* of each candidate in `projected` and `items`; NULL: candidate i is row i */
    const float *projected;               /* (rows, hidden): first layer over what is known of a post alone */
    const float *items;                   /* (rows, d): embeddings of post, author and topic */
    const float *request_hidden;          /* (hidden,): first layer over what all candidates share, its bias included */
    const float *request_item;            /* (d,) */
    const float *matches;                 /* (count, matched) */
    float *logits;                        /* (count, outputs) */
} Candidates;

typedef void BlockPass(const Ranker *, const Context *, const Candidates *, int64_t first, int count, float *scratch);
BlockPass block_pass_v4, block_pass_v3, block_pass_any;

/* Fills the memory that the context points to. */
typedef void ContextPass(const Ranker *, const Tables *, const History *, const Context *, float *scratch);
ContextPass context_pass_v4, context_pass_v3, context_pass_any;
#endif
