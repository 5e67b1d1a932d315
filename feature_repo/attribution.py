"""The exposure rule: which exposure an action answers.

An action answers the newest exposure of its post to its user at or before it, by event time, within the action's attribution
window. Exposures of the action's own request go before all others. Each exposure has answers of its own: an action answers one
exposure, or none.

`answered` is the rule. The batch engine computes it for columns (`answered_rows`) and the stream engine as events come
(aggregates/kernel/histories.c); both are tested against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from feature_repo.as_of import last_before
from feature_repo.contracts import Action
from feature_repo.heads import DWELL_WINDOW, HEAD_OF

UNDATED = "undated"
_MICROSECOND = timedelta(microseconds=1)
WINDOW_US = {
    **{name: head.window // _MICROSECOND for name, head in HEAD_OF.items()},
    Action.DWELL.value: DWELL_WINDOW // _MICROSECOND,
}
ANSWERING = tuple(WINDOW_US)  # every action that answers exposures: HEADS, then dwell


class Shown(NamedTuple):
    """An exposure."""

    user_id: int
    post_id: int
    request_id: str  # "" = none
    at_us: int
    dated: bool  # False: known by its order alone, its time is an upper bound


class Acted(NamedTuple):
    """An action."""

    user_id: int
    post_id: int
    request_id: str  # "" = none
    action: str  # one of ANSWERING
    at_us: int
    dated: bool


def answered(action: Acted, exposures: Sequence[Shown]) -> int:
    """Place in `exposures` (in the engines' order, oldest first) of the one that `action` answers, -1 for none.

    Of exposures of one moment the last in the engines' order is the newest.
    """
    possible = [place for place, exposure in enumerate(exposures) if _may_answer(action, exposure)]
    same_request = [place for place in possible if action.request_id and exposures[place].request_id == action.request_id]
    return max(same_request or possible, default=-1)


def _may_answer(action: Acted, exposure: Shown) -> bool:
    if (action.user_id, action.post_id, action.dated) != (exposure.user_id, exposure.post_id, exposure.dated):
        return False
    if exposure.at_us > action.at_us:
        return False
    if not action.dated:  # upper bounds of times say nothing of a window, so the request must be the same, or none for both
        return action.request_id == exposure.request_id
    return action.at_us - exposure.at_us <= WINDOW_US[action.action]


def answered_rows(shown: pl.DataFrame, acted: pl.DataFrame) -> np.ndarray:
    """The rule for columns: row in `shown` that each row of `acted` answers, -1 for none; int64 (acted.height,).

    Both: user_id, post_id, request_id ("" = none), at (int64 us), UNDATED (bool). `shown`: the exposures of a user in the
    engines' order, oldest first. `acted`: also action, one of ANSWERING.
    """
    undated, at_us = acted[UNDATED].to_numpy(), acted["at"].to_numpy()
    windows = acted["action"].replace_strict(list(WINDOW_US), list(WINDOW_US.values()), return_dtype=pl.Int64)
    oldest = np.where(undated, np.iinfo(np.int64).min, at_us - windows.to_numpy())
    names_request = undated | (acted["request_id"] != "").to_numpy()
    rows = np.full(len(acted), -1)
    for keys, asking in ((["request_id"], names_request), ([], ~undated)):
        asking = np.flatnonzero(asking & (rows < 0))
        if len(asking) and len(shown):
            found = _newest(shown, acted[asking], ["user_id", "post_id", UNDATED, *keys])
            in_window = (found >= 0) & (shown["at"].to_numpy()[found] >= oldest[asking])
            rows[asking] = np.where(in_window, found, -1)
    return rows


def _newest(shown: pl.DataFrame, acted: pl.DataFrame, keys: list[str]) -> np.ndarray:
    """The last row of `shown` at or before each row of `acted` with the same `keys`, -1 for none; int64 (acted.height,)."""
    groups = acted.select(keys).unique().with_row_index("group")
    held = shown.select(*keys, "at").with_row_index("row").join(groups, on=keys).sort("group", "row")
    asked = acted.select(*keys, "at").join(groups, on=keys, how="left", maintain_order="left")
    group, moment = (asked[name].cast(pl.Int64).to_numpy() for name in ("group", "at"))
    place = last_before(held["group"].cast(pl.Int64).to_numpy(), held["at"].to_numpy(), group, moment + 1)
    return np.append(held["row"].cast(pl.Int64).to_numpy(), -1)[place]  # place -1 takes the appended one
