"""Logged exposures as visits: what one user was shown on one surface within one slice of time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.exposures import exposure_frame
from services.mixer.api_types import MOST_SCORED

# A slice's events are sent after its requests: what a prediction could know is this much behind.
SLICE_HOURS = 2
_HOUR_US = 3_600_000_000
LEAST_USERS = 30  # whose visits are replayed, or all there are: a share of a small log may be nobody
LONGEST_ID = 110  # characters of a request's id: the API takes 128, and an id gets suffixes such as "-reference"


@dataclass(frozen=True)
class Visit:
    """One request to replay."""

    request_id: str
    user_id: int
    product: str
    at_us: int  # the first exposure's moment
    post_ids: np.ndarray  # int64 (n,)


@dataclass(frozen=True)
class Slice:
    """Some hours of logged traffic: the visits, and all events of all users in it, oldest first."""

    index: int
    start_us: int
    visits: list[Visit]
    events: pl.DataFrame


def dated_exposures(events: pl.DataFrame) -> pl.DataFrame:
    """One row per impression of which it is known when it was: user_id, post_id, request_id, product, at_us; oldest first."""
    dated = events.filter(pl.col("product") != HISTORY_BEFORE).with_columns(at=pl.col("occurred_at").dt.epoch("us"))
    rows = exposure_frame(dated).select("user_id", "post_id", "request_id", "product", at_us="at")
    return rows.sort("at_us", "request_id", maintain_order=True)


def in_sample(user_ids: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which users are in a `share` of all users: a fixed draw per (user, seed); bool (n,)."""
    return _draws(user_ids, seed) < share


def _draws(user_ids: np.ndarray, seed: int) -> np.ndarray:
    """A fixed number in [0, 1) per (user, seed): float64 (n,)."""
    # Splitmix64's constants; the seed's product is reduced by hand, since NumPy warns where a scalar wraps around.
    offset = np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (user_ids.astype(np.uint64) + offset) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(40)).astype(np.float64) / 2**24


def _asking(user_ids: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows are of users whose visits are replayed: a `share` of them, and LEAST_USERS or all at least; bool (n,)."""
    draws = _draws(user_ids, seed)
    lowest = np.unique(_draws(np.unique(user_ids), seed))[:LEAST_USERS]
    return (draws < share) | (draws <= lowest.max(initial=0.0))


def first_of(events: pl.DataFrame, most: int) -> pl.DataFrame:
    """The first `most` of `events` by time, or fewer: those of one moment stay together, none of the first is cut."""
    if events.height <= most:
        return events
    moments = events["occurred_at"].sort()
    return events.filter((pl.col("occurred_at") < moments[most]) | (pl.col("occurred_at") == moments[0]))


def hours_of(events: pl.DataFrame, hours: float, most: int) -> float:
    """`hours`, or less where so many hours of `events` hold more than `most` on average; a minute at least."""
    if events.height <= most:
        return hours
    whole_hours = (events["occurred_at"].max() - events["occurred_at"].min()).total_seconds() / 3600.0
    return min(hours, max(most / events.height * whole_hours, 1 / 60))


def share_of_visits(events: pl.DataFrame, share: float, most: int, *, hours: float = SLICE_HOURS) -> float:
    """`share`, or less: the share of the users whose visits in `events` are about `most`."""
    shown = events.filter((pl.col("action") == Action.IMPRESSION.value) & (pl.col("product") != HISTORY_BEFORE))
    slice_of = pl.col("occurred_at").dt.epoch("us") // round(hours * _HOUR_US)
    visits = shown.select(pl.struct(slice_of, "user_id", "product").n_unique()).item()
    return min(share, most / max(visits, 1))


def slices_of(events: pl.DataFrame, hours: float = SLICE_HOURS) -> int:
    """How many slices of `hours` hold any of `events`."""
    return events.select((pl.col("occurred_at").dt.epoch("us") // round(hours * _HOUR_US)).n_unique()).item()


def slices(events: pl.DataFrame, *, share: float, seed: int, name: str, hours: float = SLICE_HOURS) -> Iterator[Slice]:
    """Cut `events` into slices of `hours`, in time order; events are everybody's.

    Visits are those of a `share` of the users with exposures, and of LEAST_USERS of them or all there are at least.
    """
    slice_us = round(hours * _HOUR_US)
    keyed = events.with_columns(slice=pl.col("occurred_at").dt.epoch("us") // slice_us).sort("occurred_at", "event_id")
    exposures = dated_exposures(events)
    exposures = exposures.filter(pl.Series(_asking(exposures["user_id"].to_numpy(), share, seed)))
    chosen_in = {key: rows for (key,), rows in exposures.group_by(pl.col("at_us") // slice_us, maintain_order=True)}
    for index, ((key,), rows) in enumerate(
        keyed.partition_by("slice", as_dict=True, include_key=False, maintain_order=True).items()
    ):
        chosen = chosen_in.get(key, exposures.clear())
        visits = sorted(_visits(chosen, f"{name}-{key}"), key=lambda visit: (visit.at_us, visit.user_id))
        yield Slice(index, int(key) * slice_us, visits, rows)


def _visits(exposures: pl.DataFrame, name: str) -> Iterator[Visit]:
    """One visit for each user and surface of a slice, or several one after another where it is of more posts than a request may
    ask for."""
    exposures = exposures.sort("user_id", "product", maintain_order=True)
    at_us, post_ids = exposures["at_us"].to_numpy(), exposures["post_id"].to_numpy()
    start = 0
    for user_id, product, rows in exposures.group_by("user_id", "product", maintain_order=True).len().iter_rows():
        end, request = start + rows, f"{name}-{user_id}-{product}"
        for part, first in enumerate(range(start, end, MOST_SCORED)):
            some = slice(first, min(first + MOST_SCORED, end))
            yield Visit(
                request_id=short_id(request if part == 0 else f"{request}-{part + 1}"),
                user_id=user_id,
                product=product,
                at_us=int(at_us[first]),
                post_ids=post_ids[some],
            )
        start = end


def short_id(name: str) -> str:
    """`name`, its end replaced by a hash of the whole where it is too long for a request's id."""
    if len(name) <= LONGEST_ID:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{name[: LONGEST_ID - len(digest) - 1]}-{digest}"
