/* One block of candidates through the ranker. Included by a file for each instruction set, which sets

     BLOCK_PASS  the name of the function
     ROWS        candidates of a tile, a divisor of BLOCK
     PANELS      panels of 16 columns of a tile; ROWS * PANELS sums of 16 numbers must fit the registers

   A candidate's numbers never meet another's, and each is made by the same operations wherever in a block it stands: its
   score is the same bit for bit, alone or among others. */
#include <string.h>

#include "ranker.h"

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(64), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))
#define AT(pointer) (*(Lanes *)(pointer))
#define READ(pointer) (*(const Lanes *)(pointer))

/* number - 0 is the number itself, -0 too, so that nothing is computed; 0 + number would cost an addition for every number that
   a product broadcasts, half as much again on processors that add where they multiply. */
INLINE Lanes all(float number) { return number - (Lanes){}; }

INLINE Lanes choose(Bits mask, Lanes yes, Lanes no) { return (Lanes)(((Bits)yes & mask) | ((Bits)no & ~mask)); }

INLINE Lanes larger(Lanes a, Lanes b) { return choose(a > b, a, b); }

INLINE Lanes smaller(Lanes a, Lanes b) { return choose(a < b, a, b); }

/* Number i of the lanes at the place i ^ by. */
#if defined(__clang__) || __GNUC__ >= 12
#define ORDERED(lanes, ...) __builtin_shufflevector(lanes, lanes, __VA_ARGS__)
#else
#define ORDERED(lanes, ...) __builtin_shuffle(lanes, (Bits){__VA_ARGS__})
#endif
#define SWAPPED(lanes, by)                                                                                                        \
    ORDERED(lanes, 0 ^ by, 1 ^ by, 2 ^ by, 3 ^ by, 4 ^ by, 5 ^ by, 6 ^ by, 7 ^ by, 8 ^ by, 9 ^ by, 10 ^ by, 11 ^ by, 12 ^ by, \
            13 ^ by, 14 ^ by, 15 ^ by)

/* By halves: four steps, where one number after the other would wait fifteen times for the sum before it. */
INLINE float sum_of(Lanes lanes) {
    lanes += SWAPPED(lanes, 8);
    lanes += SWAPPED(lanes, 4);
    lanes += SWAPPED(lanes, 2);
    lanes += SWAPPED(lanes, 1);
    return lanes[0];
}

INLINE float largest_of(Lanes lanes) {
    lanes = larger(lanes, SWAPPED(lanes, 8));
    lanes = larger(lanes, SWAPPED(lanes, 4));
    lanes = larger(lanes, SWAPPED(lanes, 2));
    lanes = larger(lanes, SWAPPED(lanes, 1));
    return lanes[0];
}

/* e^x to 2 units in the last place (Cephes): x = n log 2 + r, a polynomial in r, then n into the exponent. */
INLINE Lanes exponential(Lanes x) {
    x = smaller(larger(x, all(-87.0f)), all(88.0f));
    Lanes shifted = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: the low bits are n, rounded */
    Lanes n = shifted - 12582912.0f;
    Lanes r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Lanes p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Lanes)((Bits)p + ((Bits)shifted << 23));
}

/* GELU in its tanh form: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)). */
INLINE Lanes gelu(Lanes x) { return x / (1.0f + exponential(-x * (x * x * 0.0713548162726f + 1.5957691216057308f))); }

typedef enum { STORE, ADD } Mode;

/* out (ROWS, 16 * panels) = or += in (ROWS, depth) x packed + bias */
INLINE void tile(float *out, long out_width, const float *in, long in_width, const float *packed, int depth, const float *bias, Mode mode,
                 const int panels) {
    Lanes sums[ROWS][PANELS];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < panels; j++) sums[i][j] = bias ? READ(bias + 16 * j) : (Lanes){};
    for (long k = 0; k < depth; k++) {
        Lanes columns[PANELS];
#pragma GCC unroll 4
        for (int j = 0; j < panels; j++) columns[j] = READ(packed + 16 * (j * (long)depth + k));
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            Lanes number = all(in[i * in_width + k]);
#pragma GCC unroll 4
            for (int j = 0; j < panels; j++) sums[i][j] += number * columns[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < panels; j++) {
            float *place = out + i * out_width + 16 * j;
            if (mode == ADD) AT(place) = READ(place) + sums[i][j];
            else AT(place) = sums[i][j];
        }
}

INLINE void multiply(float *out, long out_width, const float *in, long in_width, const float *packed, int count, int depth, int width,
                     const float *bias, Mode mode) {
    int column = 0;
    for (; column + 16 * PANELS <= width; column += 16 * PANELS)
        for (int i = 0; i < count; i += ROWS)
            tile(out + i * out_width + column, out_width, in + i * in_width, in_width, packed + (long)column * depth, depth,
                 bias ? bias + column : 0, mode, PANELS);
    for (; column < width; column += 16)
        for (int i = 0; i < count; i += ROWS)
            tile(out + i * out_width + column, out_width, in + i * in_width, in_width, packed + (long)column * depth, depth,
                 bias ? bias + column : 0, mode, 1);
}

static __attribute__((noinline)) void product(float *out, long out_width, const float *in, long in_width, const float *packed, int count,
                                              int depth, int width, const float *bias) {
    multiply(out, out_width, in, in_width, packed, count, depth, width, bias, STORE);
}

static __attribute__((noinline)) void add_product(float *out, long out_width, const float *in, long in_width, const float *packed, int count,
                                                  int depth, int width, const float *bias) {
    multiply(out, out_width, in, in_width, packed, count, depth, width, bias, ADD);
}

static void bend(float *numbers, long count) {
    for (long i = 0; i < count; i += 16) AT(numbers + i) = gelu(READ(numbers + i));
}

/* Layer norm without scale and shift, of rows that lie side by side. */
static void standardise(float *out, const float *in, int count, int width) {
    for (int i = 0; i < count; i++, in += width, out += width) {
        Lanes sum = {}, squares = {};
        for (int c = 0; c < width; c += 16) sum += READ(in + c);
        float mean = sum_of(sum) / width;
        for (int c = 0; c < width; c += 16) {
            Lanes off = READ(in + c) - mean;
            squares += off * off;
        }
        float scale = 1.0f / __builtin_sqrtf(sum_of(squares) / width + 1e-5f);
        for (int c = 0; c < width; c += 16) AT(out + c) = (READ(in + c) - mean) * scale;
    }
}

/* Logits over the context (in `row`, made into shares) and over the candidate itself; returns its share of itself. */
INLINE float shares(float *row, int width, float own) {
    Lanes most = all(own), sum = {};
    for (int c = 0; c < width; c += 16) most = larger(most, READ(row + c));
    float top = largest_of(most);
    for (int c = 0; c < width; c += 16) {
        Lanes weight = exponential(READ(row + c) - top);
        AT(row + c) = weight;
        sum += weight;
    }
    float mine = exponential(all(own - top))[0], inverse = 1.0f / (sum_of(sum) + mine);
    for (int c = 0; c < width; c += 16) AT(row + c) = READ(row + c) * inverse;
    return mine * inverse;
}

/* read (count, d): what each candidate reads of the context and of itself. */
static void attend(const Ranker *ranker, const Context *context, int layer, float *read, const float *qkv, float *logits, int count) {
    const int d = ranker->d, width = d / ranker->heads, tokens = 16 * context->panels;
    for (int head = 0; head < ranker->heads; head++) {
        float itself[BLOCK];
        product(logits, tokens, qkv + head * width, 3 * d, context->keys[layer] + (long)head * width * tokens, count, width, tokens,
                context->bias[layer] + (long)head * tokens);
        for (int i = 0; i < count; i++) {
            const float *query = qkv + (long)i * 3 * d + head * width;
            Lanes own = {};
            for (int c = 0; c < width; c += 16) own += READ(query + c) * READ(query + d + c);
            itself[i] = shares(logits + (long)i * tokens, tokens, sum_of(own));
        }
        product(read + head * width, d, logits, tokens, context->values[layer] + (long)head * context->tokens * width, count,
                context->tokens, width, 0);
        for (int i = 0; i < count; i++) {
            const float *value = qkv + (long)i * 3 * d + 2 * d + head * width;
            float *place = read + (long)i * d + head * width;
            for (int c = 0; c < width; c += 16) AT(place + c) = READ(place + c) + READ(value + c) * itself[i];
        }
    }
}

/* x (count, d) after a layer in which it read `read` (count, d). */
static void finish(const Ranker *ranker, const Layer *layer, float *x, const float *read, float *normed, float *middle, int count) {
    const int d = ranker->d;
    add_product(x, d, read, d, layer->out, count, d, d, layer->out_bias);
    standardise(normed, x, count, d);
    product(middle, ranker->ffn, normed, d, layer->up, count, d, ranker->ffn, layer->up_bias);
    bend(middle, (long)count * ranker->ffn);
    add_product(x, d, middle, ranker->ffn, layer->down, count, ranker->ffn, d, layer->down_bias);
}

/* hidden and x of each candidate before the first layer; rows behind the last candidate repeat it. */
static void enter(const Ranker *ranker, const Candidates *asked, int64_t first, int count, int rows, float *hidden, float *x, float *matches) {
    for (int i = 0; i < rows; i++) {
        int64_t place = first + (i < count ? i : count - 1), row = asked->row ? asked->row[place] : place;
        const float *projected = asked->projected + row * ranker->hidden, *item = asked->items + row * ranker->d;
        for (int c = 0; c < ranker->hidden; c += 16)
            AT(hidden + (long)i * ranker->hidden + c) = READ(projected + c) + READ(asked->request_hidden + c);
        for (int c = 0; c < ranker->d; c += 16) AT(x + (long)i * ranker->d + c) = READ(item + c) + READ(asked->request_item + c);
        memcpy(matches + (long)i * ranker->matched, asked->matches + place * ranker->matched, sizeof(float) * ranker->matched);
    }
    if (ranker->matched)
        add_product(hidden, ranker->hidden, matches, ranker->matched, ranker->match, rows, ranker->matched, ranker->hidden, 0);
    bend(hidden, (long)rows * ranker->hidden);
    add_product(x, ranker->d, hidden, ranker->hidden, ranker->narrow, rows, ranker->hidden, ranker->d, ranker->narrow_bias);
}

void BLOCK_PASS(const Ranker *ranker, const Context *context, const Candidates *asked, int64_t first, int count, float *scratch) {
    const int d = ranker->d, joined = d + ranker->hidden, rows = (count + ROWS - 1) / ROWS * ROWS;
    const int wide = 3 * d > joined ? 3 * d : joined, up = ranker->ffn > ranker->tower ? ranker->ffn : ranker->tower;
    /* The order and sizes of these are those of `scratch_floats` in rank.c. */
    float *hidden = scratch, *x = hidden + (long)BLOCK * ranker->hidden, *read = x + (long)BLOCK * d, *qkv = read + (long)BLOCK * d;
    float *normed = qkv + (long)BLOCK * wide, *middle = normed + (long)BLOCK * (joined > ranker->matched ? joined : ranker->matched);
    float *logits = middle + (long)BLOCK * up;
    enter(ranker, asked, first, count, rows, hidden, x, normed);
    for (int depth = 0; depth < ranker->layers; depth++) {
        const Layer *layer = &ranker->layer[depth];
        standardise(normed, x, rows, d);
        product(qkv, 3 * d, normed, d, layer->qkv, rows, d, 3 * d, layer->qkv_bias);
        attend(ranker, context, depth, read, qkv, logits, rows);
        finish(ranker, layer, x, read, normed, middle, rows);
    }
    for (int i = 0; i < rows; i++) {
        memcpy(qkv + (long)i * joined, x + (long)i * d, sizeof(float) * d);
        memcpy(qkv + (long)i * joined + d, hidden + (long)i * ranker->hidden, sizeof(float) * ranker->hidden);
    }
    standardise(normed, qkv, rows, joined);
    product(middle, ranker->tower, normed, joined, ranker->tower_up, rows, joined, ranker->tower, ranker->tower_bias);
    bend(middle, (long)rows * ranker->tower);
    product(logits, 16, middle, ranker->tower, ranker->last, rows, ranker->tower, 16, ranker->last_bias);
    for (int i = 0; i < count; i++)
        memcpy(asked->logits + (first + i) * ranker->outputs, logits + 16 * i, sizeof(float) * ranker->outputs);
}
