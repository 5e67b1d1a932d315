"""Events as the stream engine reads them: every name a small code, every id a number or a hash, in flat columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from feature_repo.aggregates.cell_table import Updates
from feature_repo.aggregates.families import Family
from feature_repo.aggregates.kernel import hash_texts
from feature_repo.aggregates.measures import COUNTED, HOUR_US, MEASURE_INDEX, UNDATED, VALUE_CAP_S, VALUED
from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.heads import HEADS
from feature_repo.surfaces import surface_code

NONE = 255  # no measure, no part in histories
EXPOSURE = 254  # place in histories of what was shown
DWELT = 253  # place in histories of how long something was watched or read

_DATED_MEASURE = pl.Enum(COUNTED)
_VALUED = {action: MEASURE_INDEX[measure] for measure, action in VALUED.items()}
_UNDATED = {action: MEASURE_INDEX[measure] for measure, action in UNDATED.items()}
_PLACES = {name: place for place, name in enumerate(HEADS)} | {Action.IMPRESSION.value: EXPOSURE, Action.DWELL.value: DWELT}
_HEAD = np.array([_PLACES.get(name, NONE) for name in COUNTED], np.uint8)
_VALUED_OF = np.array([_VALUED.get(name, NONE) for name in COUNTED], np.uint8)
_UNDATED_OF = np.array([_UNDATED.get(name, NONE) for name in COUNTED], np.uint8)


@dataclass(frozen=True)
class StreamEvents:
    """n events that hold to the contract. All arrays are (n,), contiguous."""

    event_hash: np.ndarray  # uint64 (n, 2)
    request_hash: np.ndarray  # uint64 (n, 2), 0 where the event names no request
    ids: dict[str, np.ndarray]  # ID_COLUMNS -> int64
    action: np.ndarray  # uint8, place in COUNTED
    seconds: np.ndarray  # float64, NaN where the event has no value
    undated: np.ndarray  # uint8
    position: np.ndarray  # int32
    at_us: np.ndarray  # int64

    def __len__(self) -> int:
        return len(self.at_us)

    @staticmethod
    def of(events: pl.DataFrame, topic: np.ndarray) -> StreamEvents:
        """From contract rows (`at` int64 us or occurred_at) whose actions are in the closed set; topic: int (n,), -1 none."""
        at_us = _numbers(events["at"] if "at" in events.columns else events["occurred_at"].dt.epoch("us"), np.int64)
        names = events["product"].unique().to_list()
        bucket = events["product"].replace_strict(names, [surface_code(name) for name in names], return_dtype=pl.Int64)
        ids = {name: _numbers(events[name], np.int64) for name in ("user_id", "post_id", "author_id")}
        ids |= {"topic": topic.astype(np.int64), "hour": at_us // HOUR_US % 24, "product": _numbers(bucket, np.int64)}
        seconds = events["value"].cast(pl.Float64).fill_null(np.nan).to_numpy() / 1000.0
        requests = events["request_id"].fill_null("")
        return StreamEvents(
            event_hash=text_hashes(events["event_id"]),
            request_hash=text_hashes(requests) * (requests != "").to_numpy()[:, None].astype(np.uint64),
            ids=ids,
            action=_numbers(events["action"].cast(_DATED_MEASURE).to_physical(), np.uint8),
            seconds=np.clip(seconds, 0.0, VALUE_CAP_S),
            undated=_numbers(events["product"] == HISTORY_BEFORE, np.uint8),
            position=_numbers(events["position"].fill_null(-1), np.int32),
            at_us=at_us,
        )

    def take(self, chosen: np.ndarray) -> StreamEvents:
        """The events at `chosen` (bool mask or indices)."""
        columns = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__ if name != "ids"}
        return StreamEvents(**columns, ids={name: column[chosen] for name, column in self.ids.items()})

    def skipped(self, family: Family) -> np.ndarray | None:
        """uint8 (n,), 1 where an event has no key in `family`; None where every event has one."""
        if "topic" in family.ids:
            return self._without_topic if family.undated else self._without_topic_or_date
        return None if family.undated else self._without_date

    @cached_property
    def _without_topic(self) -> np.ndarray | None:
        return _marks(self.ids["topic"] < 0)

    @cached_property
    def _without_date(self) -> np.ndarray | None:
        return _marks(self.undated == 1)

    @cached_property
    def _without_topic_or_date(self) -> np.ndarray | None:
        return _marks((self.ids["topic"] < 0) | (self.undated == 1))

    def updates(self) -> Updates:
        """What these events do to their measures."""
        undated = self.undated.astype(bool)
        measure = np.where(undated, _UNDATED_OF[self.action], self.action).astype(np.uint8)
        valued = np.where(np.isnan(self.seconds) | undated, NONE, _VALUED_OF[self.action]).astype(np.uint8)
        return Updates(self.at_us, measure, valued, self.seconds, self.undated)

    def heads(self) -> np.ndarray:
        """uint8 (n,): place in HEADS, EXPOSURE for what was shown, DWELT for dwell, NONE for what histories leave out."""
        heads = _HEAD[self.action]
        heads[(heads == DWELT) & (self.undated == 1)] = NONE  # as in the aggregates: it has no moment
        return heads


def _marks(chosen: np.ndarray) -> np.ndarray | None:
    return chosen.astype(np.uint8) if chosen.any() else None


def text_hashes(texts: pl.Series) -> np.ndarray:
    """128-bit hashes of texts without nulls, uint64 (n, 2)."""
    arrow = texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_string())
    offsets = np.frombuffer(arrow.buffers()[1], np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    content = arrow.buffers()[2]
    return hash_texts(np.frombuffer(content, np.uint8) if content is not None else np.zeros(1, np.uint8), offsets)


def _numbers(column: pl.Series, kind: type[np.generic]) -> np.ndarray:
    return np.ascontiguousarray(column.to_numpy(), kind)
