"""Logged exposures as visits: what one user was shown on one surface within one slice of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.exposures import answer_frame, exposure_frame
from feature_repo.feature_rows import HEADS

SLICE_US = (
    2 * 3600 * 1_000_000
)  # a slice's events are sent after its requests: what a prediction could know is this much behind


@dataclass(frozen=True)
class Visit:
    """One request to replay, with the logged outcomes that it is judged by."""

    request_id: str
    user_id: int
    product: str
    at_us: int  # the first exposure's moment
    post_ids: np.ndarray  # int64 (n,)
    labels: np.ndarray  # uint8 (n, len(HEADS))


@dataclass(frozen=True)
class Slice:
    """Two hours of logged traffic: the visits, and all events of all users in it, oldest first."""

    index: int
    start_us: int
    visits: list[Visit]
    events: pl.DataFrame


def labelled_exposures(events: pl.DataFrame) -> pl.DataFrame:
    """One row per dated impression with a 0/1 column per head: whether an action of `events` answers it (see attribution)."""
    dated = events.filter(pl.col("product") != HISTORY_BEFORE).with_columns(at=pl.col("occurred_at").dt.epoch("us"))
    rows = exposure_frame(dated)
    answers = answer_frame(rows, dated).filter((pl.col("row") >= 0) & (pl.col("place") < len(HEADS)))
    labels = np.zeros((rows.height, len(HEADS)), np.uint8)
    labels[answers["row"].to_numpy(), answers["place"].to_numpy()] = 1
    return (
        rows.select("user_id", "post_id", "request_id", "product", at_us="at")
        .with_columns(pl.DataFrame(labels, schema=list(HEADS)))
        .sort("at_us", "request_id", maintain_order=True)
    )


def in_sample(user_ids: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which users are in a `share` of all users: a fixed draw per (user, seed); bool (n,)."""
    # Splitmix64's constants; the seed's product is reduced by hand, since NumPy warns where a scalar wraps around.
    offset = np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (user_ids.astype(np.uint64) + offset) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(40)).astype(np.float64) / 2**24 < share


def slices(events: pl.DataFrame, *, share: float, seed: int, name: str) -> Iterator[Slice]:
    """Cut `events` into slices in time order; visits are those of a `share` of users, events are everybody's."""
    keyed = events.with_columns(slice=pl.col("occurred_at").dt.epoch("us") // SLICE_US).sort("occurred_at", "event_id")
    # Labelled before they are cut: an action may come in a later slice than the exposure that it answers.
    exposures = labelled_exposures(events)
    exposures = exposures.filter(pl.Series(in_sample(exposures["user_id"].to_numpy(), share, seed)))
    judged = exposures.group_by(pl.col("at_us") // SLICE_US, maintain_order=True)
    chosen_in = {key: rows for (key,), rows in judged}
    for index, ((key,), rows) in enumerate(
        keyed.partition_by("slice", as_dict=True, include_key=False, maintain_order=True).items()
    ):
        chosen = chosen_in.get(key, exposures.clear())
        visits = [
            _visit(name, int(key), user_id, product, group)
            for (user_id, product), group in chosen.partition_by(
                "user_id", "product", as_dict=True, maintain_order=True
            ).items()
        ]
        yield Slice(index, int(key) * SLICE_US, sorted(visits, key=lambda visit: (visit.at_us, visit.user_id)), rows)


def _visit(name: str, slice_key: int, user_id: int, product: str, exposures: pl.DataFrame) -> Visit:
    return Visit(
        request_id=f"{name}-{slice_key}-{user_id}-{product}",
        user_id=user_id,
        product=product,
        at_us=int(exposures["at_us"][0]),
        post_ids=exposures["post_id"].to_numpy(),
        labels=exposures.select(HEADS).to_numpy(),
    )
