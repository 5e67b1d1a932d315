/*
 * Each user's newest exposures, in the order in which the batch engine sorts them, with the actions that answered them. An
 * action that comes before its exposure waits for it. See ../stream_histories.py.
 */
#include "table.h"

enum { LENGTH = 50, WAITING = 50 };
enum { MOST_DWELL = 3000 };                        /* tenths of a second that one exposure can say */
enum { SHOWN = 254, DWELT = 253, LEFT_OUT = 255 }; /* codes beside the bits of the actions */

typedef struct {
    int64_t at, post, author;
    uint64_t request, event; /* hashes of the request's and the exposure's id; `event` decides between equals */
    uint64_t actions; /* one bit a head */
    int32_t position, topic, product;
    uint16_t dwell; /* tenths of a second: the sum of what was dwelt, capped */
    uint8_t dated, padding;
} Exposure;
_Static_assert(sizeof(Exposure) == 64, "an exposure is 64 bytes");

typedef struct {
    int64_t at, post;
    uint64_t request;
    uint8_t action, dated;
    uint16_t dwell; /* tenths of a second, where action is DWELT */
    uint8_t padding[4];
} Answer;
_Static_assert(sizeof(Answer) == 32, "an answer is 32 bytes");

typedef struct {
    int64_t user, newest;
    uint32_t shown, saved;
    uint16_t exposures, waiting;
    uint8_t padding[4];
    Exposure exposure[LENGTH]; /* oldest first */
    Answer answer[WAITING];    /* in the order of coming */
} History;

typedef struct {
    History *history;
    uint64_t used, most;
    Index index;
    Listed shown, saved;
} Histories;

uint64_t history_bytes(void) { return sizeof(History); }
uint64_t history_most_dwell(void) { return MOST_DWELL; }

Histories *histories_new(uint64_t most) {
    Histories *all = calloc(1, sizeof(Histories));
    if (!all) return NULL;
    all->most = most;
    all->history = reserve(most * sizeof(History), 1);
    if (!all->history || index_new(&all->index, 1 << 12) || listed_new(&all->shown, most) || listed_new(&all->saved, most)) return NULL;
    return all;
}

void histories_free(Histories *all) {
    munmap(all->history, all->most * sizeof(History));
    munmap(all->shown.row, all->most * sizeof(uint32_t));
    munmap(all->saved.row, all->most * sizeof(uint32_t));
    free(all->index.entry);
    free(all);
}

void *histories_all(Histories *all) { return all->history; }
uint64_t histories_used(const Histories *all) { return all->used; }
uint64_t histories_listed(const Histories *all, int saved) { return (saved ? &all->saved : &all->shown)->count; }
uint64_t histories_take(Histories *all, int saved, uint32_t *out) { return listed_take(saved ? &all->saved : &all->shown, out); }

static int64_t find(const Histories *all, uint64_t hash, int64_t user) {
    for (uint64_t at = hash & all->index.mask;; at = (at + 1) & all->index.mask) {
        uint64_t entry = all->index.entry[at];
        if (!entry) return -1;
        if (index_same_hash(entry, hash) && all->history[index_row(entry)].user == user) return (int64_t)index_row(entry);
    }
}

static int64_t find_or_add(Histories *all, int64_t user) {
    uint64_t hash = mix((uint64_t)user * 0x9e3779b97f4a7c15ULL);
    int64_t row = find(all, hash, user);
    if (row >= 0) return row;
    if (all->used == all->most) return TABLE_FULL;
    if (index_crowded(&all->index, all->used + 1)) {
        Index grown;
        if (index_new(&grown, (all->index.mask + 1) * 4)) return NO_MEMORY;
        for (uint64_t i = 0; i < all->used; i++) index_put_new(&grown, mix((uint64_t)all->history[i].user * 0x9e3779b97f4a7c15ULL), i);
        free(all->index.entry);
        all->index = grown;
    }
    all->history[all->used].user = user;
    index_put_new(&all->index, hash, all->used);
    return (int64_t)all->used++;
}

/* An action belongs to an exposure of the same post, request and kind that it does not precede. */
static inline int answers(const Exposure *exposure, const Answer *answer) {
    return exposure->post == answer->post && exposure->request == answer->request && exposure->dated == answer->dated &&
           answer->at >= exposure->at;
}

/* The batch engine's order: time, undated before dated, place in an undated list, event. */
static inline int comes_before(const Exposure *x, const Exposure *y) {
    if (x->at != y->at) return x->at < y->at;
    if (x->dated != y->dated) return x->dated < y->dated;
    if (x->position != y->position) return x->position < y->position;
    return x->event < y->event;
}

static inline void answer_with(Exposure *exposure, const Answer *answer) {
    if (answer->action != DWELT) exposure->actions |= UINT64_C(1) << answer->action;
    else if (answer->dwell < MOST_DWELL - exposure->dwell) exposure->dwell += answer->dwell;
    else exposure->dwell = MOST_DWELL;
}

static void show(History *history, Exposure exposure) {
    uint16_t left = 0;
    for (uint16_t i = 0; i < history->waiting; i++) {
        if (answers(&exposure, &history->answer[i])) answer_with(&exposure, &history->answer[i]);
        else history->answer[left++] = history->answer[i];
    }
    history->waiting = left;
    uint16_t place = history->exposures;
    while (place > 0 && comes_before(&exposure, &history->exposure[place - 1])) place--;
    if (history->exposures < LENGTH) {
        memmove(&history->exposure[place + 1], &history->exposure[place], (history->exposures - place) * sizeof(Exposure));
        history->exposures++;
    } else if (place == 0) {
        return; /* older than all that are kept */
    } else {
        place--;
        memmove(&history->exposure[0], &history->exposure[1], place * sizeof(Exposure));
    }
    history->exposure[place] = exposure;
}

static void act(History *history, Answer answer) {
    int answered = 0;
    for (uint16_t i = 0; i < history->exposures; i++) {
        if (!answers(&history->exposure[i], &answer)) continue;
        answer_with(&history->exposure[i], &answer);
        answered = 1;
    }
    if (answered) return;
    if (history->waiting == WAITING) { /* the longest waiting one gives way */
        memmove(&history->answer[0], &history->answer[1], (WAITING - 1) * sizeof(Answer));
        history->waiting--;
    }
    history->answer[history->waiting++] = answer;
}

/*
 * Fold n events: head[i] is the bit of a ranked action, SHOWN for an exposure, DWELT for dwell[i] tenths of a second spent on
 * one, LEFT_OUT for what histories leave out. Exposures go first, so that an action of the same batch finds the exposure it
 * answers. Returns 0, NO_MEMORY or TABLE_FULL.
 */
int64_t histories_apply(Histories *all, uint64_t n, const uint8_t *head, const int64_t *user, const int64_t *post,
                        const int64_t *author, const int32_t *topic, const int32_t *product, const int32_t *position,
                        const uint8_t *dated, const int64_t *at, const uint64_t *request, const uint64_t *event,
                        const uint16_t *dwell) {
    for (int exposures = 1; exposures >= 0; exposures--) {
        for (uint64_t i = 0; i < n; i++) {
            if (head[i] == LEFT_OUT || (head[i] == SHOWN) != exposures) continue;
            int64_t row = find_or_add(all, user[i]);
            if (row < 0) return row;
            History *history = &all->history[row];
            if (exposures)
                show(history, (Exposure){at[i], post[i], author[i], request[2 * i], event[2 * i], 0, position[i], topic[i], product[i],
                                         0, dated[i], 0});
            else act(history, (Answer){at[i], post[i], request[2 * i], head[i], dated[i], dwell[i], {0}});
            if (at[i] > history->newest) history->newest = at[i];
            list_row(&all->shown, &history->shown, (uint64_t)row);
            list_row(&all->saved, &history->saved, (uint64_t)row);
        }
    }
    return OK;
}

/* Row of each user, -1 where there is none. */
void histories_find(const Histories *all, uint64_t n, const int64_t *user, int64_t *out) {
    for (uint64_t i = 0; i < n; i++) out[i] = find(all, mix((uint64_t)user[i] * 0x9e3779b97f4a7c15ULL), user[i]);
}

/* Put n histories in their users' places. Returns 0, NO_MEMORY or TABLE_FULL. */
int64_t histories_restore(Histories *all, uint64_t n, const History *history) {
    for (uint64_t i = 0; i < n; i++) {
        int64_t row = find_or_add(all, history[i].user);
        if (row < 0) return row;
        all->history[row] = history[i];
        all->history[row].shown = all->history[row].saved = 0;
    }
    return OK;
}
