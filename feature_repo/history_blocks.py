"""Blocks read off a history: how the user met this author, topic and post before, and the user's recent mood."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.derive import NEVER_S
from feature_repo.feature_rows import History
from feature_repo.heads import COMPLETED, DISLIKED, LIKED, OPENED, places, prior_rate
from feature_repo.history import action_columns

# What the columns call opened, completed, liked and disliked: whether any action of the role followed.
_ROLES = [places(role) for role in (OPENED, COMPLETED, LIKED, DISLIKED)]
_STRENGTH = np.float32(3.0)
_RATES = np.array([prior_rate(OPENED), prior_rate(COMPLETED)], np.float32)
# Log1p of seconds, and the shares beyond the two borders, that a user of whom little is known is believed to have.
_LOG_DWELL = np.float32(2.0)
_SHORT_S, _SHORT_SHARE = np.float32(3.0), np.float32(0.4)
_LONG_S, _LONG_SHARE = np.float32(18.0), np.float32(0.28)

MATCH_COLUMNS = (
    "log_seen",
    "log_opened",
    "log_completed",
    "log_liked",
    "log_disliked",
    "opened_rate",
    "completed_rate",
    "log_since_seen",
)
SPANS = (5, 20, 50)  # newest exposures
RECENT_S = (1_800.0, 86_400.0)
_EARLIER = ("second_last", "third_last", "fourth_last")
CONTEXT_COLUMNS = (
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
    "history_length",
    "log_since_exposure",
    "last_opened",
    "last_completed",
    *(f"{name}_rate_last_{span}" for span in SPANS for name in ("opened", "completed")),
    *(f"log_{name}_last_{int(seconds)}s" for seconds in RECENT_S for name in ("seen", "opened", "completed")),
    *(f"product_{name}" for name in MATCH_COLUMNS),
    "product_share",
    "last_same_product",
    # What went before in this session. The last exposure's other signals are above.
    *(f"{place}_log_dwell" for place in ("last", *_EARLIER)),
    *(f"{place}_{name}" for name in ("opened", "completed", "same_product", "log_since") for place in _EARLIER),
    "log_dwell_mean",
    f"dwell_share_below_{int(_SHORT_S)}s",
    f"dwell_share_from_{int(_LONG_S)}s",
    "product_log_dwell_mean",
    "idle",  # signed log1p of the seconds since the newest exposure that were not spent on it
)


class HistorySignals:
    """What the blocks need of n histories, computed once: per exposure weights and ages."""

    def __init__(self, history: History) -> None:
        self.history = history
        acted = action_columns(history)  # (n, L, heads)
        shown = (history.post_id >= 0).astype(np.float32)
        dated = ~np.isnan(history.age_s)
        opened, completed, liked, disliked = (acted[:, :, role].max(axis=2) for role in _ROLES)
        # Clicks are unknown for undated exposures, so click rates divide by dated ones only.
        self.weights = np.stack([shown, opened, completed, liked, disliked, dated.astype(np.float32)], axis=2)  # (n, L, 6)
        self.age_s = np.where(dated, history.age_s, np.float32(NEVER_S))
        self.log_dwell = np.log1p(history.dwell_s)  # 0 where nothing is dated

    def matches(self, ids: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """MATCH_COLUMNS for `candidates` (m,) against the histories' `ids` (n, L), n = m or 1. Returns float32 (m, 8).

        A candidate id below 0 (no topic) matches nothing.
        """
        if len(ids) != 1:
            return self._compared(ids, candidates)
        # One history for all: candidates differ only in which of its few ids they have, if any.
        met = np.unique(ids[ids >= 0])
        table = self._compared(ids, np.append(met, -1))  # its last row is of those that match nothing
        place = np.searchsorted(met, candidates)
        found = met.take(place, mode="clip") == candidates if len(met) else np.zeros(len(candidates), bool)
        return table.take(np.where(found, place, len(met)), axis=0)

    def _compared(self, ids: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """`matches`, every candidate against every exposure."""
        same = (ids == candidates[:, None]) & (candidates >= 0)[:, None]  # (m, L)
        weighted = same.astype(np.float32)
        shared = len(ids) == 1
        sums = weighted @ self.weights[0] if shared else np.matmul(weighted[:, None, :], self.weights)[:, 0]
        youngest = np.where(same, self.age_s, np.float32(NEVER_S)).min(axis=1)
        return _match_columns(sums, youngest)

    def context(self, product: np.ndarray, now_us: np.ndarray) -> np.ndarray:
        """CONTEXT_COLUMNS for requests on `product` (m,) at `now_us` (m,). Returns float32 (m, len(CONTEXT_COLUMNS))."""
        per_history = self._mood()
        if len(per_history) == 1 and len(product) != 1:
            per_history = np.repeat(per_history, len(product), axis=0)
        in_product = self.matches(self.history.product, product)
        length = np.maximum(per_history[:, :1], 1.0)
        same_product = (self.history.product == product[:, None]).astype(np.float32)  # (m, L)
        columns = [_clock(now_us), per_history, in_product, np.expm1(in_product[:, :1]) / length, same_product[:, -1:]]
        return np.concatenate([*columns, self._session(same_product)], axis=1)

    def _session(self, same_product: np.ndarray) -> np.ndarray:
        """The context columns of the last exposures and of dwell, float32 (m, k); same_product: float32 (m, L)."""
        earlier = slice(-2, -5, -1)
        opened, completed, dated = (self.weights[:, :, index] for index in (1, 2, 5))
        in_product = same_product * dated
        weight, last_s = dated.sum(axis=1) + _STRENGTH, self.history.dwell_s[:, -1]
        short, long = (self.history.dwell_s < _SHORT_S) * dated, (self.history.dwell_s >= _LONG_S) * dated
        idle_s = self.age_s[:, -1] - last_s
        dwell_in_product = (self.log_dwell * in_product).sum(axis=1) + _STRENGTH * _LOG_DWELL
        per_history = [self.log_dwell[:, :-5:-1], opened[:, earlier], completed[:, earlier]]
        of_dwell = [
            (self.log_dwell.sum(axis=1) + _STRENGTH * _LOG_DWELL) / weight,
            (short.sum(axis=1) + _STRENGTH * _SHORT_SHARE) / weight,
            (long.sum(axis=1) + _STRENGTH * _LONG_SHARE) / weight,
            dwell_in_product / (in_product.sum(axis=1) + _STRENGTH),
            np.sign(idle_s) * np.log1p(np.abs(idle_s)),
        ]
        pieces = [*per_history, same_product[:, earlier], np.log1p(self.age_s[:, earlier]), *(one[:, None] for one in of_dwell)]
        m = len(same_product)
        return np.concatenate([piece if len(piece) == m else np.repeat(piece, m, axis=0) for piece in pieces], axis=1)

    def _mood(self) -> np.ndarray:
        """The context columns that depend on the history alone, float32 (n, k)."""
        shown, opened, completed, dated = (self.weights[:, :, index] for index in (0, 1, 2, 5))
        newest = self.age_s.min(axis=1)
        columns = [shown.sum(axis=1), np.log1p(newest), opened[:, -1], completed[:, -1]]
        for span in SPANS:
            tail = slice(-span, None)
            acted = np.stack([opened[:, tail].sum(axis=1), completed[:, tail].sum(axis=1)], axis=1)
            seen = np.stack([dated[:, tail].sum(axis=1), shown[:, tail].sum(axis=1)], axis=1)
            columns += list(((acted + _STRENGTH * _RATES) / (seen + _STRENGTH)).T)
        for seconds in RECENT_S:
            recent = (self.age_s <= seconds).astype(np.float32)
            columns += [np.log1p((recent * weight).sum(axis=1)) for weight in (shown, opened, completed)]
        return np.stack(columns, axis=1).astype(np.float32)


def _match_columns(sums: np.ndarray, youngest_s: np.ndarray) -> np.ndarray:
    seen, opened, completed, _, _, dated = sums.T
    return np.concatenate(
        [
            np.log1p(sums[:, :5]),
            ((opened + _STRENGTH * _RATES[0]) / (dated + _STRENGTH))[:, None],
            ((completed + _STRENGTH * _RATES[1]) / (seen + _STRENGTH))[:, None],
            np.log1p(youngest_s)[:, None],
        ],
        axis=1,
    ).astype(np.float32)


def _clock(now_us: np.ndarray) -> np.ndarray:
    """Hour and weekday (UTC) on their circles, float32 (m, 4)."""
    day = 2 * np.pi * (now_us % 86_400_000_000) / 86_400_000_000
    week = 2 * np.pi * (now_us % (7 * 86_400_000_000)) / (7 * 86_400_000_000)
    return np.stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], axis=1).astype(np.float32)
