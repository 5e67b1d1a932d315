/* The kernel over buffers of exactly the sizes that it asks for, to be compiled with sanitizers: on every instruction set, for
   widths and lengths that fill blocks, groups and packs and that do not; by many callers at once, and in a forked process; where no thread can be started, and where no memory is left.

   Usage: kernel_memory sizes|callers|scarce|helpers; the last two without sanitizers, which need room of their own, and `helpers`
   only where it is compiled with -DREFUSING and linked with --wrap=aligned_alloc. Exits with 0, or with 1 and what differs. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ranker.h"

int encode(const Ranker *, const Tables *, const History *, const Context *, int);
int rank(const Ranker *, const Context *, const Candidates *, int, int);
int best_level(void);

enum { LAYERS = 2, HIDDEN = 48, FFN = 80, MATCHED = 16, OUTPUTS = 9, ROWS = 50, AGES = 17, CALLERS = 6, ROUNDS = 20 };

static float *drawn(long count) {
    float *numbers = malloc(sizeof(float) * count);
    for (long i = 0; i < count; i++) numbers[i] = (rand() % 1000 / 1000.0f - 0.5f) * 0.4f;
    return numbers;
}

static void check(int holds, const char *what) {
    if (holds) return;
    printf("%s\n", what);
    exit(1);
}

static Ranker new_ranker(int d, int heads) {
    const int outputs = (OUTPUTS + PACK - 1) / PACK * PACK;
    Ranker ranker = {.d = d, .heads = heads, .layers = LAYERS, .hidden = HIDDEN, .ffn = FFN, .tower = FFN, .matched = MATCHED, .outputs = OUTPUTS};
    ranker.match = drawn(MATCHED * HIDDEN);
    ranker.narrow = drawn(HIDDEN * d), ranker.narrow_bias = drawn(d);
    ranker.tower_up = drawn((d + HIDDEN) * FFN), ranker.tower_bias = drawn(FFN);
    ranker.last = drawn(FFN * outputs), ranker.last_bias = drawn(OUTPUTS);
    for (int i = 0; i < LAYERS; i++)
        ranker.layer[i] = (Layer){drawn(3 * d * d), drawn(3 * d), drawn(d * d), drawn(d), drawn(d * FFN), drawn(FFN), drawn(FFN * d), drawn(d)};
    return ranker;
}

static Tables new_tables(int d, int heads) {
    Tables tables = {.ages = AGES};
    for (int i = 0; i < TABLES; i++) tables.rows[i] = ROWS, tables.table[i] = drawn((long)ROWS * d);
    for (int i = 0; i < LAYERS; i++) tables.age_bias[i] = drawn(AGES * heads);
    return tables;
}

/* Whole posts without rows of their own; the last third of the ages is there. */
static History new_history(int length, int d) {
    int32_t *rows = malloc(sizeof(int32_t) * TABLES * length), *age = malloc(sizeof(int32_t) * length);
    for (int i = 0; i < TABLES * length; i++) rows[i] = rand() % ROWS;
    for (int i = 0; i < length; i++) age[i] = i < length / 3 ? AGES - 1 : rand() % (AGES - 1);
    return (History){length, AGES - 1, rows, age, drawn(d)};
}

static Context new_context(int tokens, int d, int heads) {
    Context context = {.tokens = tokens};
    for (int i = 0; i < LAYERS; i++) {
        context.keys[i] = malloc(sizeof(float) * heads * keys_size(&context, d / heads));
        context.values[i] = malloc(sizeof(float) * heads * values_size(&context, d / heads));
        context.bias[i] = malloc(sizeof(float) * heads * tokens);
    }
    return context;
}

static Candidates new_candidates(int count, int d) {
    return (Candidates){count,          NULL,     drawn((long)count * HIDDEN),  drawn((long)count * d),
                        drawn(HIDDEN),  drawn(d), drawn((long)count * MATCHED), malloc(sizeof(float) * count * OUTPUTS)};
}

/* A context of 20 exposures, candidates, and the logits that one thread gives them. */
typedef struct {
    Ranker ranker;
    Tables tables;
    History history;
    Context context;
    Candidates asked;
    float *expected;
    size_t bytes; /* of the logits */
} Request;

static Request new_request(int count) {
    const int d = 32, heads = 2, length = 20;
    Request request = {.ranker = new_ranker(d, heads), .tables = new_tables(d, heads), .history = new_history(length, d)};
    request.context = new_context(length + 1, d, heads);
    request.asked = new_candidates(count, d);
    request.bytes = sizeof(float) * count * OUTPUTS;
    request.expected = malloc(request.bytes);
    check(encode(&request.ranker, &request.tables, &request.history, &request.context, best_level()) == 0, "a context was not encoded");
    check(rank(&request.ranker, &request.context, &request.asked, 1, best_level()) == 0, "candidates were not ranked");
    memcpy(request.expected, request.asked.logits, request.bytes);
    return request;
}

static void clear(Request *request) { memset(request->asked.logits, 0, request->bytes); }

static int rank_again(Request *request) { return rank(&request->ranker, &request->context, &request->asked, 4, best_level()); }

static int as_before(const Request *request) { return memcmp(request->asked.logits, request->expected, request->bytes) == 0; }

static void sizes(void) {
    const int widths[][2] = {{32, 2}, {48, 1}, {128, 4}}, lengths[] = {1, 7, 11, 15, 16, 47, 48, 50, 128}, counts[] = {1, 17, 48, 100};
    for (int level = 0; level <= best_level(); level = level ? level + 1 : 3)
        for (int w = 0; w < 3; w++)
            for (int l = 0; l < 9; l++) {
                const int d = widths[w][0], heads = widths[w][1], length = lengths[l];
                Ranker ranker = new_ranker(d, heads);
                Tables tables = new_tables(d, heads);
                History history = new_history(length, d);
                Context context = new_context(length + 1, d, heads);
                check(encode(&ranker, &tables, &history, &context, level) == 0, "a context was not encoded");
                for (int c = 0; c < 4; c++) {
                    Candidates asked = new_candidates(counts[c], d);
                    check(rank(&ranker, &context, &asked, 2, level) == 0, "candidates were not ranked");
                    for (int i = 0; i < counts[c] * OUTPUTS; i++) check(asked.logits[i] == asked.logits[i], "a logit is no number");
                }
                ((int32_t *)history.rows)[3 % length] = ROWS;
                check(encode(&ranker, &tables, &history, &context, level) == -2, "a row of no table was not refused");
            }
}

typedef struct {
    const Ranker *ranker;
    const Context *context;
    Candidates asked;
    const float *expected;
} Caller;

static void *call(void *argument) {
    Caller *caller = argument;
    const size_t bytes = sizeof(float) * caller->asked.count * OUTPUTS;
    for (int i = 0; i < ROUNDS; i++) {
        memset(caller->asked.logits, 0, bytes);
        check(rank(caller->ranker, caller->context, &caller->asked, 1 + i % 4, best_level()) == 0, "candidates were not ranked");
        check(memcmp(caller->asked.logits, caller->expected, bytes) == 0, "logits differ among callers");
    }
    return NULL;
}

static void all_call(Caller *caller) {
    pthread_t thread[CALLERS];
    for (int i = 0; i < CALLERS; i++) check(pthread_create(&thread[i], NULL, call, &caller[i]) == 0, "no thread");
    for (int i = 0; i < CALLERS; i++) pthread_join(thread[i], NULL);
}

static void callers(void) {
    Request request = new_request(300);
    Caller caller[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        caller[i] = (Caller){&request.ranker, &request.context, request.asked, request.expected};
        caller[i].asked.logits = malloc(request.bytes);
    }
    all_call(caller);
    const pid_t child = fork(); /* its parent's helpers are not there */
    if (child == 0) {
        call(&caller[0]);
        _exit(0);
    }
    int status;
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a forked process did not rank");
    all_call(caller);
}

/* Leaves this process `more` bytes of addresses beyond what it has. */
static void leave(long more) {
    long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    check(file && fscanf(file, "%ld", &pages) == 1, "the process's size is not known");
    fclose(file);
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = more < 0 ? limit.rlim_max : (rlim_t)(pages * sysconf(_SC_PAGESIZE) + more);
    check(setrlimit(RLIMIT_AS, &limit) == 0, "the process cannot be limited");
}

static void scarce(void) {
    Request request = new_request(300);

    leave(1 << 20); /* a thread's stack does not fit, the kernel's scratch does */
    pthread_t none;
    check(pthread_create(&none, NULL, call, NULL) != 0, "a thread could be started: this test tests nothing");
    clear(&request);
    check(rank_again(&request) == 0, "candidates were not ranked without helpers");
    check(as_before(&request), "logits differ without helpers");

    leave(0);
    for (size_t size = 1 << 20; size >= 64; size /= 2)
        while (malloc(size)) continue;
    check(rank_again(&request) == -1, "no memory was not told to who ranks");
    check(encode(&request.ranker, &request.tables, &request.history, &request.context, best_level()) == -1, "no memory was not told to who encodes");

    leave(-1);
    clear(&request);
    check(rank_again(&request) == 0, "candidates were not ranked afterwards");
    check(as_before(&request), "logits differ afterwards");
}

#ifdef REFUSING
static atomic_int refusing, refused;
static __thread int caller_itself;

void *__real_aligned_alloc(size_t, size_t);

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    if (!refusing || caller_itself) return __real_aligned_alloc(alignment, size);
    refused++;
    return NULL;
}

/* Helpers get no memory, the caller does. A helper may come too late to ask for any, so it is tried until some were refused. */
static void helpers(void) {
    enum { MOST_TRIES = 10000 };
    Request request = new_request(3000);
    caller_itself = 1, refusing = 1;
    for (int i = 0; i < MOST_TRIES && refused < 20; i++) {
        clear(&request);
        check(rank_again(&request) == 0, "the caller did not rank what its helpers could not");
        check(as_before(&request), "logits differ where helpers have no memory");
    }
    check(refused > 0, "no helper asked for memory: this test tests nothing");
}
#endif

int main(int count, char **argument) {
    check(count == 2, "sizes, callers, scarce or helpers?");
    if (strcmp(argument[1], "sizes") == 0) sizes();
    else if (strcmp(argument[1], "callers") == 0) callers();
#ifdef REFUSING
    else if (strcmp(argument[1], "helpers") == 0) helpers();
#endif
    else if (strcmp(argument[1], "scarce") == 0) scarce();
    else check(0, "that is not compiled in");
    return 0;
}
