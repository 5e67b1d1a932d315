/* A user's context through the layers, for all candidates of a request. Included behind block_pass.h, whose products it uses;
   CONTEXT_PASS is the name of the function.

   Token 0 is the user's, which reads itself alone; token t is exposure t - 1, which reads itself and the exposures before it.
   Tokens lie side by side as candidates do, and go block by block: those before a block have left their keys and values.
   (services/ranking/heavy.py: encode_context.) */

/* x (d, side): tokens from `first` on, before the first layer; lanes behind the last token are zero. `rows`: (LANES, d). */
static void embed(const Ranker *ranker, const Tables *tables, const History *history, int first, float *x, float *rows, long side) {
    const int d = ranker->d, length = history->length;
    for (int lane = 0; lane < side; lane += LANES) {
        const float *row[LANES];
        for (int i = 0; i < LANES; i++) {
            const int token = first + lane + i;
            float *sum = rows + (long)i * d;
            row[i] = token == 0 ? history->user : sum;
            if (token > length) memset(sum, 0, sizeof(float) * d);
            if (token == 0 || token > length) continue;
            const float *part[TABLES];
            for (int n = 0; n < TABLES; n++) part[n] = tables->table[n] + (long)history->rows[(long)n * length + token - 1] * d;
            for (int c = 0; c < d; c += LANES) {
                Lanes total = READ(part[0] + c);
                for (int n = 1; n < TABLES; n++) total += READ(part[n] + c);
                AT(sum + c) = total;
            }
        }
        turn(x + lane, row, d, side);
    }
}

/* What candidates add to the logits of a layer's tokens, by head. `closed`: ABSENT where nobody else may read a token, else 0. */
static void age(const Ranker *ranker, const Tables *tables, const History *history, const Context *context, int layer, const float *closed) {
    const int tokens = context->tokens;
    for (int head = 0; head < ranker->heads; head++) {
        float *bias = (float *)context->bias[layer] + (long)head * tokens;
        bias[0] = 0; /* the user's token, which only exposures do not read */
        for (int t = 1; t < tokens; t++)
            bias[t] = closed[t] == 0 ? tables->age_bias[layer][(long)history->age[t - 1] * ranker->heads + head] : closed[t];
    }
}

/* Keys and values of a block of tokens, packed as products read them; `first` is a multiple of BLOCK. */
static void pack(const Ranker *ranker, const Context *context, int layer, const float *qkv, int first, long side) {
    const int d = ranker->d, width = d / ranker->heads, tokens = context->tokens;
    const float *key = qkv + d * side, *value = key + d * side;
    for (int head = 0; head < ranker->heads; head++) {
        float *keys = (float *)context->keys[layer] + head * keys_size(context, width);
        float *values = (float *)context->values[layer] + head * values_size(context, width);
        for (int c = 0; c < width; c++, key += side, value += side)
            for (int lane = 0; lane < side && first + lane < tokens; lane++) {
                const long t = first + lane;
                keys[(t / PACK * width + c) * PACK + t % PACK] = key[lane];
                values[((long)c / PACK * tokens + t) * PACK + c % PACK] = value[lane];
            }
        for (long t = tokens; t % PACK; t++) /* outputs of no token */
            for (int c = 0; c < width; c++) keys[(t / PACK * width + c) * PACK + t % PACK] = 0;
    }
}

void CONTEXT_PASS(const Ranker *ranker, const Tables *tables, const History *history, const Context *context, float *scratch) {
    const int d = ranker->d, tokens = context->tokens;
    Scratch at = laid_out(ranker, scratch);
    float *closed = at.logits + (long)BLOCK * tokens;
    closed[0] = ABSENT;
    for (int t = 1; t < tokens; t++) closed[t] = history->age[t - 1] != history->absent ? 0 : ABSENT;
    for (int depth = 0; depth < ranker->layers; depth++) age(ranker, tables, history, context, depth, closed);
    for (int first = 0; first < tokens; first += BLOCK) {
        const int left = tokens - first, count = left < BLOCK ? left : BLOCK;
        const long side = (count + LANES - 1) / LANES * LANES;
        embed(ranker, tables, history, first, at.x, at.read, side);
        for (int depth = 0; depth < ranker->layers; depth++) {
            const Layer *layer = &ranker->layer[depth];
            const int last = depth + 1 == ranker->layers, from = last ? d : 0; /* after the last keys nobody reads the context */
            standardise(at.normed, at.x, d, side);
            product(at.qkv + from * side, at.normed, layer->qkv + (long)from * d, layer->qkv_bias + from, 3 * d - from, d, side, STORE);
            pack(ranker, context, depth, at.qkv, first, side);
            if (last) break;
            attend(ranker, context, depth, first + count, first, closed, 0, at.read, at.qkv, at.logits, side);
            finish(ranker, layer, at.x, at.read, at.normed, at.middle, side);
        }
    }
}
