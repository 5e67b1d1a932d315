/* A user's context through the layers, for all candidates of a request. Included behind block_pass.h, whose products it uses;
   CONTEXT_PASS is the name of the function.

   Row 0 is the user's token, which reads itself alone; row t is exposure t - 1, which reads itself and the exposures before it.
   (services/ranking/heavy.py: encode_context.) */

static const float ABSENT = -1e30f; /* added to the logit of what is not read */

/* x (rows, d) before the first layer; rows behind the last token are zero. */
static void embed(const Ranker *ranker, const Tables *tables, const History *history, float *x, int rows) {
    const int d = ranker->d, length = history->length;
    memcpy(x, history->user, sizeof(float) * d);
    for (int t = 0; t < length; t++) {
        const float *part[TABLES];
        for (int i = 0; i < TABLES; i++) part[i] = tables->table[i] + (long)history->rows[(long)i * length + t] * d;
        for (int c = 0; c < d; c += 16) {
            Lanes sum = READ(part[0] + c);
            for (int i = 1; i < TABLES; i++) sum += READ(part[i] + c);
            AT(x + (long)(t + 1) * d + c) = sum;
        }
    }
    memset(x + (long)(length + 1) * d, 0, sizeof(float) * d * (rows - length - 1));
}

/* What candidates add to the logits of a layer's tokens, by head. `closed`: ABSENT where a token is not there, else 0. */
static void age(const Ranker *ranker, const Tables *tables, const History *history, const Context *context, int layer, const float *closed) {
    const int width = 16 * context->panels;
    for (int head = 0; head < ranker->heads; head++) {
        float *bias = (float *)context->bias[layer] + (long)head * width;
        bias[0] = 0; /* the user's token, which only exposures do not read */
        for (int t = 1; t < width; t++)
            bias[t] = closed[t] == 0 ? tables->age_bias[layer][(long)history->age[t - 1] * ranker->heads + head] : closed[t];
    }
}

/* Keys and values of a layer, packed as products read them. */
static void pack(const Ranker *ranker, const Context *context, int layer, const float *qkv) {
    const int d = ranker->d, width = d / ranker->heads, tokens = context->tokens;
    for (int head = 0; head < ranker->heads; head++) {
        const float *key = qkv + d + head * width, *value = key + d;
        float *keys = (float *)context->keys[layer] + (long)head * width * 16 * context->panels;
        for (int first = 0; first < tokens; first += 16, keys += 16 * width)
            for (int i = 0; i < 16; i++)
                for (int c = 0; c < width; c++) keys[16 * c + i] = first + i < tokens ? key[(long)(first + i) * 3 * d + c] : 0;
        float *values = (float *)context->values[layer] + (long)head * tokens * width;
        for (int c = 0; c < width; c += 16)
            for (int t = 0; t < tokens; t++, values += 16) AT(values) = READ(value + (long)t * 3 * d + c);
    }
}

/* Logits of token `at` over all tokens, made into its shares of them. `closed`: 0, or ABSENT where nobody else may read. */
static void shares_before(float *row, int at, int width, const float *closed) {
    const Bits ascending = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int end = (at / 16 + 1) * 16;
    const float own = row[at];
    for (int c = 0; c < end; c += 16) AT(row + c) = choose(ascending + c < at, READ(row + c) + READ(closed + c), all(ABSENT));
    float mine = shares(row, end, own);
    memset(row + end, 0, sizeof(float) * (width - end));
    row[at] = mine;
}

static void read_before(const Ranker *ranker, const Context *context, int layer, const float *closed, float *read, const float *qkv, float *logits,
                        int rows) {
    const int d = ranker->d, width = d / ranker->heads, tokens = context->tokens, padded = 16 * context->panels;
    for (int head = 0; head < ranker->heads; head++) {
        product(logits, padded, qkv + head * width, 3 * d, context->keys[layer] + (long)head * width * padded, rows, width, padded, 0);
        for (int t = 0; t < tokens; t++) shares_before(logits + (long)t * padded, t, padded, closed);
        product(read + head * width, d, logits, padded, context->values[layer] + (long)head * tokens * width, rows, tokens, width, 0);
    }
}

void CONTEXT_PASS(const Ranker *ranker, const Tables *tables, const History *history, const Context *context, float *scratch) {
    const int d = ranker->d, tokens = context->tokens, rows = (tokens + ROWS - 1) / ROWS * ROWS, padded = 16 * context->panels;
    /* The sizes of these are those of `context_floats` in rank.c. */
    float *x = scratch, *read = x + (long)rows * d, *qkv = read + (long)rows * d, *normed = qkv + (long)rows * 3 * d;
    float *middle = normed + (long)rows * d, *logits = middle + (long)rows * ranker->ffn, *closed = logits + (long)rows * padded;
    embed(ranker, tables, history, x, rows);
    closed[0] = ABSENT;
    for (int t = 1; t < padded; t++) closed[t] = t < tokens && history->age[t - 1] != history->absent ? 0 : ABSENT;
    for (int depth = 0; depth < ranker->layers; depth++) {
        const Layer *layer = &ranker->layer[depth];
        const int last = depth + 1 == ranker->layers, from = last ? d : 0; /* after the last keys nobody reads the context */
        standardise(normed, x, rows, d);
        product(qkv + from, 3 * d, normed, d, layer->qkv + (long)from * d, rows, d, 3 * d - from, layer->qkv_bias + from);
        pack(ranker, context, depth, qkv);
        age(ranker, tables, history, context, depth, closed);
        if (last) break;
        read_before(ranker, context, depth, closed, read, qkv, logits, rows);
        finish(ranker, layer, x, read, normed, middle, rows);
    }
}
