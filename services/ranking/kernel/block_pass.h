/* One block of candidates through the ranker. Included by a file for each instruction set, which sets

     BLOCK_PASS  the name of the function
     LANES       numbers of a register, a divisor of 16
     ROWS        outputs of a tile, a divisor of PACK
     GROUPS      groups of LANES candidates of a tile; ROWS * GROUPS sums, GROUPS numbers and a weight must fit the registers

   Candidates lie side by side: a matrix (width, side) holds number 0 of every candidate of the block, then number 1 of every
   one; side is a multiple of LANES. A candidate keeps to its lane: nothing is ever summed over lanes, and its numbers are made by
   the same operations whichever lane it has, so its score is the same bit for bit, alone or among others. */
#include <string.h>

#include "lanes.h"
#include "ranker.h"

static const float ABSENT = -1e30f; /* added to the logit of what is not read */

typedef enum { STORE, ADD } Mode;

/* `rows` outputs of `groups` groups: see product. */
INLINE void tile(float *out, const float *in, const float *packed, const float *bias, int depth, long side, Mode mode, const int rows,
                 const int groups) {
    Lanes sums[ROWS][GROUPS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < groups; j++) sums[i][j] = bias ? all(bias[i]) : (Lanes){};
    for (long k = 0; k < depth; k++) {
        Lanes numbers[GROUPS];
#pragma GCC unroll 4
        for (int j = 0; j < groups; j++) numbers[j] = READ(in + k * side + LANES * j);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            Lanes weight = all(packed[k * PACK + i]);
#pragma GCC unroll 4
            for (int j = 0; j < groups; j++) sums[i][j] += weight * numbers[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < groups; j++) {
            float *place = out + i * side + LANES * j;
            if (mode == ADD) AT(place) = READ(place) + sums[i][j];
            else AT(place) = sums[i][j];
        }
}

/* `rows` outputs of all lanes. */
INLINE void stripe(float *out, const float *in, const float *packed, const float *bias, int depth, long side, Mode mode, const int rows) {
    long lane = 0;
    for (; lane + LANES * GROUPS <= side; lane += LANES * GROUPS)
        tile(out + lane, in + lane, packed, bias, depth, side, mode, rows, GROUPS);
    if (GROUPS > 2 && lane + LANES * 2 <= side) {
        tile(out + lane, in + lane, packed, bias, depth, side, mode, rows, GROUPS > 2 ? 2 : 1);
        lane += LANES * 2;
    }
    if (GROUPS > 1 && lane < side) tile(out + lane, in + lane, packed, bias, depth, side, mode, rows, 1);
}

/* out (outputs, side) = or += packed (outputs, depth) x in (depth, side) + bias (outputs), of a matrix that may be deeper. */
static __attribute__((noinline)) void product_of_first(int depth, float *out, const float *in, const float *packed, const float *bias,
                                                       int outputs, int packed_depth, long side, Mode mode) {
    int row = 0;
    while (row < outputs) {
        const int left = outputs - row, within = row % PACK;
        const float *weights = packed + (long)(row - within) * packed_depth + within, *shift = bias ? bias + row : 0;
        float *place = out + row * side;
        if (left >= ROWS) {
            stripe(place, in, weights, shift, depth, side, mode, ROWS);
            row += ROWS;
        } else if (ROWS > 4 && left >= 4) {
            stripe(place, in, weights, shift, depth, side, mode, ROWS > 4 ? 4 : 1);
            row += 4;
        } else if (left >= 2) {
            stripe(place, in, weights, shift, depth, side, mode, 2);
            row += 2;
        } else {
            stripe(place, in, weights, shift, depth, side, mode, 1);
            row += 1;
        }
    }
}

static void product(float *out, const float *in, const float *packed, const float *bias, int outputs, int depth, long side, Mode mode) {
    product_of_first(depth, out, in, packed, bias, outputs, depth, side, mode);
}

static void bend(float *numbers, long count) {
    for (long i = 0; i < count; i += LANES) AT(numbers + i) = gelu(READ(numbers + i));
}

enum { CHAINS = 4 }; /* sums over a width in so many parts: each addition waits for the one before it */

/* Layer norm without scale and shift; `width` is a multiple of CHAINS. */
static void standardise(float *out, const float *in, int width, long side) {
    for (long lane = 0; lane < side; lane += LANES) {
        const float *from = in + lane;
        float *to = out + lane;
        Lanes sum[CHAINS] = {}, squares[CHAINS] = {};
        for (int c = 0; c < width; c += CHAINS)
#pragma GCC unroll 4
            for (int i = 0; i < CHAINS; i++) sum[i] += READ(from + (c + i) * side);
        Lanes mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)width;
        for (int c = 0; c < width; c += CHAINS)
#pragma GCC unroll 4
            for (int i = 0; i < CHAINS; i++) {
                Lanes off = READ(from + (c + i) * side) - mean;
                squares[i] += off * off;
            }
        Lanes scale = ((squares[0] + squares[1]) + (squares[2] + squares[3])) / (float)width + 1e-5f;
        for (int i = 0; i < LANES; i++) scale[i] = 1.0f / __builtin_sqrtf(scale[i]);
        for (int c = 0; c < width; c++) AT(to + c * side) = (READ(from + c * side) - mean) * scale;
    }
}

/* Of LANES candidates: logits over tokens are made into e^(logit - the largest), that of the candidate itself into *own.
   Returns 1 / their sum. */
INLINE Lanes weigh(float *logits, int tokens, long side, Lanes *own) {
    Lanes most[CHAINS] = {*own, *own, *own, *own}, sum[CHAINS] = {};
    const int whole = tokens / CHAINS * CHAINS;
    for (int t = 0; t < whole; t += CHAINS)
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS; i++) most[i] = larger(most[i], READ(logits + (t + i) * side));
    for (int t = whole; t < tokens; t++) most[0] = larger(most[0], READ(logits + t * side));
    Lanes top = larger(larger(most[0], most[1]), larger(most[2], most[3]));
    for (int t = 0; t < whole; t += CHAINS)
#pragma GCC unroll 4
        for (int i = 0; i < CHAINS; i++) {
            Lanes weight = exponential(READ(logits + (t + i) * side) - top);
            AT(logits + (t + i) * side) = weight;
            sum[i] += weight;
        }
    for (int t = whole; t < tokens; t++) {
        Lanes weight = exponential(READ(logits + t * side) - top);
        AT(logits + t * side) = weight;
        sum[0] += weight;
    }
    *own = exponential(*own - top);
    return 1.0f / (((sum[0] + sum[1]) + (sum[2] + sum[3])) + *own);
}

/* read (d, side): what each candidate reads of the first tokens of the context and of itself. `first`: of a token in lane 0,
   which reads only tokens before it, as those in the lanes behind it do; -1 for candidates, which read them all. */
static void attend(const Ranker *ranker, const Context *context, int layer, int tokens, int first, const float *bias, long by_head,
                   float *read, const float *qkv, float *logits, long side) {
    const int d = ranker->d, width = d / ranker->heads;
    for (int head = 0; head < ranker->heads; head++, qkv += width * side, read += width * side) {
        const float *key = qkv + d * side, *value = key + d * side;
        Lanes own[BLOCK / LANES], inverse[BLOCK / LANES];
        product(logits, qkv, context->keys[layer] + head * keys_size(context, width), bias + head * by_head, tokens, width, side, STORE);
        for (int t = first < 0 ? tokens : first; t < tokens; t++)
            for (int lane = 0; lane < side; lane += LANES)
                AT(logits + t * side + lane) = choose(ASCENDING + lane + first > t, READ(logits + t * side + lane), all(ABSENT));
        for (int lane = 0, group = 0; lane < side; lane += LANES, group++) {
            Lanes itself = {};
            for (int c = 0; c < width; c++) itself += READ(qkv + c * side + lane) * READ(key + c * side + lane);
            own[group] = itself;
            inverse[group] = weigh(logits + lane, tokens, side, &own[group]);
        }
        product_of_first(tokens, read, logits, context->values[layer] + head * values_size(context, width), 0, width, context->tokens, side, STORE);
        for (int c = 0; c < width; c++)
            for (int lane = 0, group = 0; lane < side; lane += LANES, group++) {
                float *place = read + c * side + lane;
                AT(place) = (READ(place) + READ(value + c * side + lane) * own[group]) * inverse[group];
            }
    }
}

/* x (d, side) after a layer in which it read `read` (d, side). */
static void finish(const Ranker *ranker, const Layer *layer, float *x, const float *read, float *normed, float *middle, long side) {
    const int d = ranker->d;
    product(x, read, layer->out, layer->out_bias, d, d, side, ADD);
    standardise(normed, x, d, side);
    product(middle, normed, layer->up, layer->up_bias, ranker->ffn, d, side, STORE);
    bend(middle, ranker->ffn * side);
    product(x, middle, layer->down, layer->down_bias, d, ranker->ffn, side, ADD);
}

/* hidden and x of each candidate before the first layer; lanes behind the last candidate repeat it. */
static void enter(const Ranker *ranker, const Candidates *asked, int64_t first, int count, float *hidden, float *x, float *matches,
                  long side) {
    for (int lane = 0; lane < side; lane += LANES) {
        const float *projected[LANES], *item[LANES], *match[LANES];
        for (int i = 0; i < LANES; i++) {
            int64_t place = first + (lane + i < count ? lane + i : count - 1), row = asked->row ? asked->row[place] : place;
            projected[i] = asked->projected + row * ranker->hidden;
            item[i] = asked->items + row * ranker->d;
            match[i] = asked->matches + place * ranker->matched;
        }
        turn(hidden + lane, projected, ranker->hidden, side);
        turn(x + lane, item, ranker->d, side);
        turn(matches + lane, match, ranker->matched, side);
    }
    for (int c = 0; c < ranker->hidden; c++)
        for (int lane = 0; lane < side; lane += LANES) AT(hidden + c * side + lane) = READ(hidden + c * side + lane) + asked->request_hidden[c];
    for (int c = 0; c < ranker->d; c++)
        for (int lane = 0; lane < side; lane += LANES) AT(x + c * side + lane) = READ(x + c * side + lane) + asked->request_item[c];
    if (ranker->matched) product(hidden, matches, ranker->match, 0, ranker->hidden, ranker->matched, side, ADD);
    bend(hidden, ranker->hidden * side);
    product(x, hidden, ranker->narrow, ranker->narrow_bias, ranker->d, ranker->hidden, side, ADD);
}

typedef struct {
    float *x, *read, *qkv, *normed, *middle, *logits;
} Scratch;

/* The sizes of these are those of `scratch_floats` in rank.c. Behind x comes hidden, as the tower reads them. */
INLINE Scratch laid_out(const Ranker *ranker, float *scratch) {
    const long d = ranker->d, joined = d + ranker->hidden;
    Scratch at = {.x = scratch};
    at.read = at.x + BLOCK * joined;
    at.qkv = at.read + BLOCK * d;
    at.normed = at.qkv + BLOCK * 3 * d;
    at.middle = at.normed + BLOCK * (joined > ranker->matched ? joined : ranker->matched);
    at.logits = at.middle + BLOCK * (long)(ranker->ffn > ranker->tower ? ranker->ffn : ranker->tower);
    return at;
}

void BLOCK_PASS(const Ranker *ranker, const Context *context, const Candidates *asked, int64_t first, int count, float *scratch) {
    const int d = ranker->d, joined = d + ranker->hidden;
    const long side = (count + LANES - 1) / LANES * LANES;
    Scratch at = laid_out(ranker, scratch);
    enter(ranker, asked, first, count, at.x + d * side, at.x, at.normed, side);
    for (int depth = 0; depth < ranker->layers; depth++) {
        const Layer *layer = &ranker->layer[depth];
        standardise(at.normed, at.x, d, side);
        product(at.qkv, at.normed, layer->qkv, layer->qkv_bias, 3 * d, d, side, STORE);
        attend(ranker, context, depth, context->tokens, -1, context->bias[depth], context->tokens, at.read, at.qkv, at.logits, side);
        finish(ranker, layer, at.x, at.read, at.normed, at.middle, side);
    }
    standardise(at.normed, at.x, joined, side);
    product(at.middle, at.normed, ranker->tower_up, ranker->tower_bias, ranker->tower, joined, side, STORE);
    bend(at.middle, ranker->tower * side);
    product(at.logits, at.middle, ranker->last, ranker->last_bias, ranker->outputs, ranker->tower, side, STORE);
    for (int i = 0; i < count; i++)
        for (int o = 0; o < ranker->outputs; o++) asked->logits[(first + i) * ranker->outputs + o] = at.logits[o * side + i];
}
