/*
 * Folds a key's moments, oldest first, into the states of ../ranking_state.py: a running sum forever and one that fades by half
 * within each half-life, a count of undated events, and the time of the newest event. See ../moment_folding.py.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    uint64_t windows, sums, undated, ages, width; /* of a moment: sums, then undated; of a state: width */
    const double *half_life_us;                   /* (windows,), 0: it does not fade */
    const uint32_t *sum_place;                    /* (windows, sums): the column of the state */
    const uint32_t *undated_place;                /* (undated,) */
    const uint32_t *aged, *age_place;             /* (ages,): which sum is timed, and the column */
    double never;                                 /* the age of what never happened */
} Layout;

typedef struct {
    int64_t key, at, begun;
} Place;

/*
 * n moments sorted by key and time; counts: (n, sums + undated); emit: whether the state after a moment is wanted. Between two
 * calls `place`, `sums` (windows x sums), `undated` and `last` (ages; INT64_MIN: never) remember where a key was left. `out` holds a row
 * of `width` for each state wanted, filled with what a state has where nothing happened.
 */
EXPORT void fold_moments(const Layout *layout, uint64_t n, const int64_t *key, const int64_t *at, const double *counts,
                         const uint8_t *emit, Place *place, double *sums, double *undated, int64_t *last, float *out) {
    const uint64_t m = layout->sums, taken = m + layout->undated;
    for (uint64_t i = 0; i < n; i++) {
        const double *count = counts + i * taken;
        if (!place->begun || key[i] != place->key) {
            memset(sums, 0, layout->windows * m * sizeof *sums);
            memset(undated, 0, layout->undated * sizeof *undated);
            for (uint64_t a = 0; a < layout->ages; a++) last[a] = INT64_MIN;
            *place = (Place){key[i], at[i], 1};
        }
        const double elapsed = (double)(at[i] - place->at);
        for (uint64_t w = 0; w < layout->windows; w++) {
            const double half_life = layout->half_life_us[w];
            const double kept = half_life > 0 && elapsed > 0 ? exp2(-elapsed / half_life) : 1.0;
            for (uint64_t j = 0; j < m; j++) sums[w * m + j] = sums[w * m + j] * kept + count[j];
        }
        for (uint64_t j = 0; j < layout->undated; j++) undated[j] += count[m + j];
        for (uint64_t a = 0; a < layout->ages; a++)
            if (count[layout->aged[a]] > 0) last[a] = at[i];
        place->at = at[i];
        if (!emit[i]) continue;
        for (uint64_t j = 0; j < layout->windows * m; j++) out[layout->sum_place[j]] = (float)sums[j];
        for (uint64_t j = 0; j < layout->undated; j++) out[layout->undated_place[j]] = (float)undated[j];
        for (uint64_t a = 0; a < layout->ages; a++)
            out[layout->age_place[a]] = (float)(last[a] == INT64_MIN ? layout->never : (double)(at[i] - last[a]) / 1e6);
        out += layout->width;
    }
}
