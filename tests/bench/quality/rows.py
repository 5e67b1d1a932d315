"""What every model of the bench is given: KuaiRand's exposures of some days to learn from, and of the two days after them.

Days are those of the log's own `date` column, so that the test rows are the ones that published figures are of. In about 1 % of
rows `date` is a day ahead of `time_ms`, always within an hour of midnight. So that no model learns from a moment after the
first one it is asked about, rows before the split by `date` but not by `time_ms` teach nothing; they count in later states.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.datasets.adapter import DatasetNotFound
from feature_repo.datasets.kuairand.adapter import KuaiRand
from feature_repo.datasets.kuairand.layouts import Layout, files_of
from feature_repo.datasets.search_path import find_kuairand, search_path
from feature_repo.event_log import first_topics
from feature_repo.exposures import ExposureLog
from feature_repo.feature_rows import FeatureRows
from feature_repo.training_rows import PointsInTime
from flows.steps.progress import announce
from flows.training.fit_collaborative import fit_collaborative
from flows.training.learned_rows import rows_fingerprint
from infra.settings import Settings
from services.ranking.id_hashing import hash_ids

TRAINED_UNTIL = date(2022, 5, 3)
TEST_DAYS = (date(2022, 5, 4), date(2022, 5, 5))
REFERENCE_EXPOSURES = 30_990  # of the test days, exact duplicates kept

_SHARE_BITS = 20
_KEY = ("user_id", "post_id", "at_us")
_EVENT_COLUMNS = (
    "event_id",
    "user_id",
    "post_id",
    "author_id",
    "topic",
    "action",
    "value",
    "product",
    "position",
    "request_id",
)


@dataclass(frozen=True)
class QualityRows:
    """Rows to learn from and rows to predict; `live` and `frozen` are the same exposures in the same order.

    `live`: state as of each row's own millisecond. `frozen`: as of its user's first row of the day. `user_day` int64 (n,).
    """

    train: FeatureRows
    live: FeatureRows
    frozen: FeatureRows
    user_day: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when any of the rows do."""
        parts = "/".join(rows_fingerprint(rows) for rows in (self.train, self.live, self.frozen))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def with_vectors(self, seed: int) -> QualityRows:
        """The same rows with the collaborative vectors that our own training would fit on them: peers read what ours reads."""
        vectors = fit_collaborative(self.train, seed)
        if vectors is None:
            return self
        train, live, frozen = (vectors.extend(rows) for rows in (self.train, self.live, self.frozen))
        return replace(self, train=train, live=live, frozen=frozen)


def quality_rows(settings: Settings, user_share: float = 1.0) -> QualityRows:
    """The rows of `user_share` of the users, chosen by a hash; states hold everybody's events all the same.

    Raises DatasetNotFound where KuaiRand is nowhere on the search path, MalformedFile, and ValueError for an odd share.
    """
    if not 0 < user_share <= 1:
        raise ValueError(f"the share of users is {user_share}; it lies in (0, 1], and 1 takes all of them")
    folder = find_kuairand(settings)
    if folder is None:
        places = ", ".join(str(place) for place in search_path(settings))
        raise DatasetNotFound(f"KuaiRand-Pure is in none of {places}; `mixer data fetch kuairand` brings it")
    announce(f"reading {folder}")
    known = _known(settings, folder)
    day = exposure_days(known.log, _logged_days(folder))
    test, train = split(known.log, day)
    warnings = []
    if len(test) != REFERENCE_EXPOSURES:
        warnings.append(f"{len(test):,} exposures of the test days, where the reference has {REFERENCE_EXPOSURES:,}")
    train, test = (_of_users(known.log, rows, user_share) for rows in (train, test))
    announce(f"features of {len(train):,} exposures to learn from")
    learned = known.rows(train)
    announce(f"features of {len(test):,} exposures to predict, live and frozen")
    group = user_days_of(known.log.user_id[test], day[test])
    begins = np.full(group.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(begins, group, known.log.at_us[test])
    return QualityRows(learned, known.rows(test), known.rows(test, begins[group]), group, tuple(warnings))


def split(log: ExposureLog, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exposures of TEST_DAYS, and those of the days before that came before the first of them; indices, oldest first.

    `day`: proleptic ordinals int32 (m,), 0 where an exposure has none.
    """
    test = np.flatnonzero(log.dated & np.isin(day, [one.toordinal() for one in TEST_DAYS]))
    if len(test) == 0:
        raise ValueError(
            f"the log holds no exposure of {TEST_DAYS[0]} or {TEST_DAYS[1]}: the bench needs KuaiRand's log of them"
        )
    before = (day > 0) & (day <= TRAINED_UNTIL.toordinal()) & (log.at_us < log.at_us[test].min())
    train = np.flatnonzero(log.dated & before)
    return tuple(rows[np.argsort(log.at_us[rows], kind="stable")] for rows in (test, train))


def exposure_days(log: ExposureLog, logged: pl.DataFrame) -> np.ndarray:
    """The logged day of every exposure as a proleptic ordinal, int32 (m,); 0 for those that the file has no row of.

    `logged`: user_id, post_id, at_us, day. A user's repeated exposures of a post in one millisecond are alike in all but, at
    times, their day: they take their days in turn.
    """
    number = pl.int_range(pl.len()).over(_KEY).alias("number")
    days = logged.sort("day", maintain_order=True).with_columns(number)
    asked = pl.DataFrame({name: getattr(log, name) for name in _KEY}).with_columns(number)
    found = asked.join(days, on=[*_KEY, "number"], how="left", maintain_order="left")["day"]
    return found.fill_null(0).to_numpy().astype(np.int32)


def user_days_of(user_id: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Group number of each row by (user, logged day), int64 (n,)."""
    _, group = np.unique(np.stack([user_id, day.astype(np.int64)]), axis=1, return_inverse=True)
    return group.reshape(-1)


def _known(settings: Settings, folder: Path) -> PointsInTime:
    """Everything the log says, straight from its files: the bench needs no ingested lake."""
    tables = KuaiRand(folder).tables()
    posts, users = tables.posts.sort("post_id"), tables.users.sort("user_id")
    announce("point-in-time state")
    events = (
        tables.events.with_columns(at=pl.col("occurred_at").dt.epoch("us"))
        .join(first_topics(posts), on="post_id", how="left", maintain_order="left")
        .with_columns(pl.col("topic").fill_null(-1))
        .select(*_EVENT_COLUMNS, "at")
    )
    return PointsInTime.of(settings, events, users, posts)


def _logged_days(folder: Path) -> pl.DataFrame:
    """user_id, post_id, at_us and day (proleptic ordinal) of every logged row."""
    files = files_of(folder)
    read = pl.read_parquet if files.layout is Layout.SLICE else pl.read_csv
    columns = ["user_id", "video_id", "time_ms", "date"]
    log = pl.concat(
        [read(file, columns=columns).select(pl.col(columns).cast(pl.Int64)) for file in files.standard + files.random]
    )
    written = log["date"].unique()
    ordinals = [date(one // 10_000, one // 100 % 100, one % 100).toordinal() for one in written.to_list()]
    return log.select(
        "user_id",
        post_id="video_id",
        at_us=pl.col("time_ms") * 1_000,
        day=pl.col("date").replace_strict(written, ordinals, return_dtype=pl.Int32),
    )


def _of_users(log: ExposureLog, rows: np.ndarray, share: float) -> np.ndarray:
    return rows if share == 1 else rows[hash_ids(log.user_id[rows], _SHARE_BITS) < share * (1 << _SHARE_BITS)]
