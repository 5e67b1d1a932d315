/*
 * Each user's newest exposures, in the order in which the batch engine sorts them, and the newest actions. Which exposure an
 * action answers is decided when a history is read, so that exposures and actions may come in any order. The rule is that of
 * ../../attribution.py. See ../stream_histories.py.
 */
#include "table.h"

enum { LENGTH = 50, KEPT = 100 };
enum { MOST_DWELL = 3000 };                        /* tenths of a second that one exposure can say */
enum { SHOWN = 254, DWELT = 253, LEFT_OUT = 255 }; /* codes beside the bits of the actions */
enum { COLUMNS = 7 };                              /* numbers of an exposure in the online store */
enum { UNDATED_AT = -1 };                          /* the stored time of an exposure that is known only by its order */

typedef struct {
    int64_t at, post, author;
    uint64_t request, event; /* hashes of the request's (0 = none) and the exposure's id; `event` decides between equals */
    uint64_t actions;        /* one bit a head: of actions that are no longer kept one by one */
    int32_t position, topic, product;
    uint16_t dwell; /* tenths of a second, capped: of dwell that is no longer kept one by one */
    uint8_t dated, padding;
} Exposure;
_Static_assert(sizeof(Exposure) == 64, "an exposure is 64 bytes");

typedef struct {
    int64_t at, post;
    uint64_t request; /* 0 = none */
    uint8_t action, dated;
    uint16_t dwell;    /* tenths of a second, where action is DWELT */
    uint8_t answered;  /* an exposure that it answers has come */
    uint8_t same_left; /* an exposure of its own request, which it may answer, is no longer kept */
    uint8_t padding[2];
} Answer;
_Static_assert(sizeof(Answer) == 32, "an answer is 32 bytes");

typedef struct {
    int64_t user, newest;
    uint32_t shown, saved;
    uint16_t exposures, answers;
    uint32_t unanswered;       /* actions that answer none of the exposures that came, as far as those were kept together */
    Exposure exposure[LENGTH]; /* oldest first */
    Answer answer[KEPT];       /* oldest first; those of one moment in the order of coming */
} History;

typedef struct {
    History *history;
    uint64_t used, most, unanswered;
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
uint64_t histories_unanswered(const Histories *all) { return all->unanswered; }
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

/* ---- the rule -------------------------------------------------------------------------------------------------------- */

/* Whether the action may answer the exposure, where no better one is there. `within`: microseconds for each code of action. */
static inline int may_answer(const Answer *answer, const Exposure *exposure, const int64_t *within) {
    if (exposure->post != answer->post || exposure->dated != answer->dated || exposure->at > answer->at) return 0;
    if (!answer->dated) return exposure->request == answer->request; /* its times are bounds and say nothing of a window */
    return exposure->at >= answer->at - within[answer->action];
}

static inline int same_request(const Answer *answer, const Exposure *exposure) {
    return answer->request && answer->request == exposure->request;
}

/* Place of the exposure that the action answers: the newest of its own request, else the newest; -1 for none that is kept. */
static int answered(const History *history, const Answer *answer, const int64_t *within) {
    int newest = -1;
    for (int i = history->exposures - 1; i >= 0; i--) {
        const Exposure *exposure = &history->exposure[i];
        if (answer->dated && exposure->at < answer->at - within[answer->action]) break; /* and so are all before it */
        if (!may_answer(answer, exposure, within)) continue;
        if (same_request(answer, exposure)) return i;
        if (newest < 0) newest = i;
    }
    return answer->same_left ? -1 : newest;
}

/* The batch engine's order: time, undated before dated, place in an undated list, event. */
static inline int comes_before(const Exposure *x, const Exposure *y) {
    if (x->at != y->at) return x->at < y->at;
    if (x->dated != y->dated) return x->dated < y->dated;
    if (x->position != y->position) return x->position < y->position;
    return x->event < y->event;
}

/* ---- what is kept ---------------------------------------------------------------------------------------------------- */

static inline void add(const Answer *answer, uint64_t *actions, uint16_t *dwell) {
    if (answer->action != DWELT) *actions |= UINT64_C(1) << answer->action;
    else *dwell = answer->dwell < MOST_DWELL - *dwell ? *dwell + answer->dwell : MOST_DWELL;
}

/* Actions that waited for `exposure` wait no longer. */
static void end_waiting(Histories *all, History *history, const Exposure *exposure, const int64_t *within) {
    if (!history->unanswered) return;
    for (int i = 0; i < history->answers; i++) {
        Answer *answer = &history->answer[i];
        if (answer->answered || !may_answer(answer, exposure, within)) continue;
        answer->answered = 1;
        history->unanswered--;
        all->unanswered--;
    }
}

/* An exposure that is older than all that stay is no longer kept: actions of its request answer no other older than it. */
static void leave(History *history, const Exposure *exposure, const int64_t *within) {
    for (int i = 0; i < history->answers; i++) {
        Answer *answer = &history->answer[i];
        if (same_request(answer, exposure) && may_answer(answer, exposure, within)) answer->same_left = 1;
    }
}

static void show(Histories *all, History *history, Exposure exposure, const int64_t *within) {
    end_waiting(all, history, &exposure, within);
    int place = history->exposures;
    while (place > 0 && comes_before(&exposure, &history->exposure[place - 1])) place--;
    if (history->exposures < LENGTH) {
        memmove(&history->exposure[place + 1], &history->exposure[place], (history->exposures - place) * sizeof(Exposure));
        history->exposures++;
    } else if (place == 0) {
        leave(history, &exposure, within);
        return;
    } else {
        leave(history, &history->exposure[0], within);
        place--;
        memmove(&history->exposure[0], &history->exposure[1], place * sizeof(Exposure));
    }
    history->exposure[place] = exposure;
}

/* An action that is no longer kept stays with the exposure that it answers now, whatever comes. */
static void settle(History *history, const Answer *answer, const int64_t *within) {
    int place = answered(history, answer, within);
    if (place >= 0) add(answer, &history->exposure[place].actions, &history->exposure[place].dwell);
}

static void act(Histories *all, History *history, Answer answer, const int64_t *within) {
    answer.answered = answered(history, &answer, within) >= 0;
    history->unanswered += !answer.answered;
    all->unanswered += !answer.answered;
    int place = history->answers;
    while (place > 0 && answer.at < history->answer[place - 1].at) place--;
    if (history->answers < KEPT) {
        memmove(&history->answer[place + 1], &history->answer[place], (history->answers - place) * sizeof(Answer));
        history->answers++;
    } else if (place == 0) {
        settle(history, &answer, within);
        return;
    } else {
        settle(history, &history->answer[0], within);
        place--;
        memmove(&history->answer[0], &history->answer[1], place * sizeof(Answer));
    }
    history->answer[place] = answer;
}

/*
 * Fold n events: head[i] is the bit of a ranked action, SHOWN for an exposure, DWELT for dwell[i] tenths of a second spent on
 * one, LEFT_OUT for what histories leave out; within: the attribution window of each such code, in microseconds. Returns 0,
 * NO_MEMORY or TABLE_FULL.
 */
int64_t histories_apply(Histories *all, uint64_t n, const int64_t *within, const uint8_t *head, const int64_t *user,
                        const int64_t *post, const int64_t *author, const int32_t *topic, const int32_t *product,
                        const int32_t *position, const uint8_t *dated, const int64_t *at, const uint64_t *request,
                        const uint64_t *event, const uint16_t *dwell) {
    for (uint64_t i = 0; i < n; i++) {
        if (head[i] == LEFT_OUT) continue;
        int64_t row = find_or_add(all, user[i]);
        if (row < 0) return row;
        History *history = &all->history[row];
        if (head[i] == SHOWN) {
            show(all, history, (Exposure){at[i], post[i], author[i], request[2 * i], event[2 * i], 0, position[i], topic[i],
                                          product[i], 0, dated[i], 0}, within);
        } else {
            act(all, history, (Answer){at[i], post[i], request[2 * i], head[i], dated[i], dwell[i], 0, 0, {0}}, within);
        }
        if (at[i] > history->newest) history->newest = at[i];
        list_row(&all->shown, &history->shown, (uint64_t)row);
        list_row(&all->saved, &history->saved, (uint64_t)row);
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
        all->unanswered += history[i].unanswered - all->history[row].unanswered;
        all->history[row] = history[i];
        all->history[row].shown = all->history[row].saved = 0;
    }
    return OK;
}

/*
 * The exposures of n histories with what answered them, COLUMNS numbers each: post, author, topic, actions, product, dwell,
 * time. out: as many as there are exposures; end[i]: numbers up to and including history i.
 */
void histories_stored(uint64_t n, const History *history, const int64_t *within, int64_t *out, int64_t *end) {
    int64_t written = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t actions[LENGTH];
        uint16_t dwell[LENGTH];
        for (int place = 0; place < history[i].exposures; place++) {
            actions[place] = history[i].exposure[place].actions;
            dwell[place] = history[i].exposure[place].dwell;
        }
        for (int j = 0; j < history[i].answers; j++) {
            int place = answered(&history[i], &history[i].answer[j], within);
            if (place >= 0) add(&history[i].answer[j], &actions[place], &dwell[place]);
        }
        for (int place = 0; place < history[i].exposures; place++) {
            const Exposure *one = &history[i].exposure[place];
            int64_t numbers[COLUMNS] = {one->post, one->author, one->topic, (int64_t)actions[place], one->product, dwell[place],
                                        one->dated ? one->at : UNDATED_AT};
            memcpy(out + written, numbers, sizeof(numbers));
            written += COLUMNS;
        }
        end[i] = written;
    }
}
