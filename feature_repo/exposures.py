"""Exposures: every impression with what its user did to it, as sorted columns that histories and labels are read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.attribution import ANSWERING, UNDATED, answered_rows
from feature_repo.contracts import HISTORY_BEFORE, Action, is_made_up
from feature_repo.dwell import MOST_TENTHS, seconds_of, tenths_of
from feature_repo.heads import HEADS, flags_of, masks_of
from feature_repo.surfaces import surface_code

# The posts of a page are asked for together and seen one after another. A longer pause ends a page; so does its length, since
# a request_id that lasts longer names a whole session, of many pages.
PAUSE_US = 5 * 60 * 1_000_000
PAGE_US = 30 * 60 * 1_000_000
_NEVER = np.iinfo(np.int64).max
_EQUALS = "event_hash"  # decides between exposures of the same moment and place, as in the stream engine


@dataclass(frozen=True)
class ExposureLog:
    """m exposures sorted by (user, time, order within the moment). Undated exposures carry an upper bound as their time."""

    user_id: np.ndarray  # int64
    post_id: np.ndarray  # int64
    author_id: np.ndarray  # int64
    topic: np.ndarray  # int32, -1 = none
    product: np.ndarray  # int32 surface code
    at_us: np.ndarray  # int64
    asked_us: np.ndarray  # int64: when the page was asked for, which is what a ranker knew: see `asked_moments`
    dated: np.ndarray  # bool
    actions: np.ndarray  # uint64, bits in the order of HEADS: everything that ever followed
    # int64 (late, len(HEADS)): when each action came, for the exposures whose actions came after the exposure's own moment.
    action_at: np.ndarray
    late_row: np.ndarray  # int32 (m,): row in action_at, -1 = all actions came with the exposure
    dwell: np.ndarray  # uint16 tenths of a second: the sum of all dwell that ever followed, capped
    # The dwell events, one by one, of the exposures that were dwelt on after their own moment: those of an exposure together in
    # the order of time, and after them one that never comes, which ends them.
    dwell_at: np.ndarray  # int64 (k,)
    dwell_so_far: np.ndarray  # uint16 (k,): tenths of a second up to and including this event, capped
    late_dwell: np.ndarray  # int32 (m,): place of the first event in dwell_at, -1 = all dwell came with the exposure
    unanswered: np.ndarray  # int64 (len(ANSWERING),): actions of each kind that answer no exposure

    def __len__(self) -> int:
        return len(self.user_id)

    def labels(self, index: np.ndarray) -> np.ndarray:
        """What followed the exposures at `index` (n,), uint8 (n, len(HEADS))."""
        return flags_of(self.actions[index])

    def dwell_s(self, index: np.ndarray) -> np.ndarray:
        """Seconds of dwell that followed the exposures at `index` (n,), float32 (n,)."""
        return seconds_of(self.dwell[index])

    def unanswered_actions(self) -> dict[str, int]:
        """How many actions of each kind answer no exposure; kinds that always answer one are left out."""
        return {name: int(count) for name, count in zip(ANSWERING, self.unanswered, strict=True) if count}


def exposure_log(events: pl.DataFrame) -> ExposureLog:
    """All exposures of `events` (columns of `event_log.read_events`) with what answers them by the rule of attribution.py."""
    rows = exposure_frame(events)
    answers = answer_frame(rows, events)
    of_none = answers.filter(pl.col("row") < 0)["place"].to_numpy()
    answers = answers.filter(pl.col("row") >= 0)
    names = rows["product"].unique().to_list()
    buckets = rows["product"].replace_strict(names, [surface_code(name) for name in names], return_dtype=pl.Int32)
    return ExposureLog(
        user_id=rows["user_id"].to_numpy(),
        post_id=rows["post_id"].to_numpy(),
        author_id=rows["author_id"].to_numpy(),
        topic=rows["topic"].to_numpy(),
        product=buckets.to_numpy(),
        at_us=rows["at"].to_numpy(),
        asked_us=asked_moments(rows),
        dated=~rows[UNDATED].to_numpy(),
        **_action_columns(answers.filter(pl.col("place") < len(HEADS)), rows["at"].to_numpy()),
        **_dwell_columns(answers.filter(pl.col("place") == ANSWERING.index(Action.DWELL)), rows["at"].to_numpy()),
        unanswered=np.bincount(of_none, minlength=len(ANSWERING)),
    )


def exposure_frame(events: pl.DataFrame) -> pl.DataFrame:
    """The impressions of `events` in the order of ExposureLog: by user, oldest first, UNDATED beside them."""
    from feature_repo.aggregates.stream_events import text_hashes  # the compiled kernel's, which serving does without

    shown = _keyed(events.filter(pl.col("action") == Action.IMPRESSION.value)).with_columns(pl.col("position").fill_null(-1))
    shown = shown.with_columns(pl.Series(_EQUALS, text_hashes(shown["event_id"])[:, 0]))
    order = ["user_id", "at", UNDATED, "position", _EQUALS]
    return shown.sort(order, descending=[name == UNDATED for name in order])


def asked_moments(rows: pl.DataFrame) -> np.ndarray:
    """When each exposure of `rows` (from `exposure_frame`) was asked for, int64 (m,): the first moment of its page.

    A page is what one request_id brought on one surface without a pause of more than PAUSE_US, and within PAGE_US. An exposure
    without a request_id, or one that was derived from an interaction, is a page of its own.
    """
    request = pl.struct("user_id", "request_id", "product").hash()  # by which a million texts are grouped in half of the time
    alone = (pl.col("request_id") == "") | pl.col(UNDATED) | is_made_up(pl.col("event_id"))
    asked = rows.select("at", alone=alone, request=request)
    if asked["request"].n_unique() == asked.height:
        return rows["at"].to_numpy()
    asked = asked.with_columns(page=(pl.col("at").diff().over("request") > PAUSE_US).fill_null(False).cum_sum().over("request"))
    asked = asked.with_columns(first=pl.col("at").min().over("request", "page"))
    long = (pl.col("at") - pl.col("first")) // PAGE_US
    if asked.select((long > 0).any()).item():
        asked = asked.with_columns(first=pl.col("at").min().over("request", "page", long))
    return asked.select(pl.when("alone").then("at").otherwise("first")).to_series().to_numpy()


def answer_frame(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Every action of `events` that answers exposures: (row, place, at, tenths).

    row: int64, that of the exposure in `rows` (from `exposure_frame`) which the action answers, -1 for none. place: int64, that
    of the action in ANSWERING. tenths: uint16, of dwell. Undated dwell is left out, as in the aggregates: it has no moment.
    """
    acted = _keyed(events.filter(pl.col("action").is_in(ANSWERING)))
    acted = acted.filter(~(pl.col(UNDATED) & (pl.col("action") == Action.DWELL.value)))
    # Divided by NumPy, as the stream engine does: polars multiplies by 1 / 1000, which rounds some halves of a tenth otherwise.
    seconds = acted["value"].cast(pl.Float64).fill_null(0.0).to_numpy() / 1000.0
    return acted.select(
        pl.Series("row", answered_rows(rows, acted)),
        pl.col("action").replace_strict(list(ANSWERING), range(len(ANSWERING)), return_dtype=pl.Int64).alias("place"),
        "at",
        pl.Series("tenths", tenths_of(seconds)),
    )


def _keyed(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(pl.col("request_id").fill_null(""), (pl.col("product") == HISTORY_BEFORE).alias(UNDATED))


def _action_columns(answers: pl.DataFrame, shown_us: np.ndarray) -> dict[str, np.ndarray]:
    """What a log holds of actions; shown_us: int64 (m,), the exposures' moments."""
    first = answers.group_by("row", "place").agg(pl.col("at").min())
    row, place, at_us = (first[name].to_numpy() for name in ("row", "place", "at"))
    followed = np.zeros((len(shown_us), len(HEADS)), bool)
    followed[row, place] = True
    late = np.unique(row[at_us > shown_us[row]])
    late_row = np.full(len(shown_us), -1, np.int32)
    late_row[late] = np.arange(len(late), dtype=np.int32)
    action_at = np.full((len(late), len(HEADS)), _NEVER)
    of_late = late_row[row] >= 0
    action_at[late_row[row[of_late]], place[of_late]] = at_us[of_late]
    return {"actions": masks_of(followed), "action_at": action_at, "late_row": late_row}


def _dwell_columns(answers: pl.DataFrame, shown_us: np.ndarray) -> dict[str, np.ndarray]:
    """What a log holds of dwell; shown_us: int64 (m,), the exposures' moments."""
    dwelt = answers.select("row", pl.col("at").alias("dwell_at"), pl.col("tenths").cast(pl.Int64))
    dwelt = dwelt.with_columns(pl.Series("at", shown_us[dwelt["row"].to_numpy()])).sort("row", "dwell_at", "tenths")
    totals = dwelt.group_by("row", maintain_order=True).agg(
        pl.col("tenths").sum().clip(upper_bound=MOST_TENTHS), late=(pl.col("dwell_at") > pl.col("at")).any()
    )
    dwell, first = np.zeros(len(shown_us), np.uint16), np.full(len(shown_us), -1, np.int32)
    dwell[totals["row"].to_numpy()] = totals["tenths"].to_numpy()
    late_rows = totals.filter("late").select("row")
    ends = late_rows.with_columns(dwell_at=pl.lit(_NEVER, pl.Int64), tenths=pl.lit(0, pl.Int64))
    late = pl.concat([dwelt.join(late_rows, on="row", how="semi").select(ends.columns), ends]).sort("row", "dwell_at", "tenths")
    running = late.select(pl.col("tenths").cum_sum().over("row").clip(upper_bound=MOST_TENTHS)).to_series()
    rows, places = np.unique(late["row"].to_numpy(), return_index=True)
    first[rows] = places
    so_far = running.to_numpy().astype(np.uint16)
    return {"dwell": dwell, "dwell_at": late["dwell_at"].to_numpy(), "dwell_so_far": so_far, "late_dwell": first}
