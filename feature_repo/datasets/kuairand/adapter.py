"""KuaiRand-Pure (Gao et al., CIKM 2022, CC BY-SA 4.0) as contract tables, from either layout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from feature_repo.contracts import SplitEvents, split_events
from feature_repo.datasets.adapter import ContractTables, whole_tables
from feature_repo.datasets.checked_files import read_raw
from feature_repo.datasets.files_fingerprint import files_fingerprint
from feature_repo.datasets.kuairand.accounts import users_of
from feature_repo.datasets.kuairand.exposures import exposure_events, history_events
from feature_repo.datasets.kuairand.layouts import Layout, files_of
from feature_repo.datasets.kuairand.raw_columns import HISTORY, LOG, USERS, VIDEOS
from feature_repo.datasets.kuairand.videos import BEIJING, posts_of
from feature_repo.datasets.splits import Splits
from feature_repo.plausible_times import EARLIEST

LABELS = {Layout.SLICE: "KuaiRand-Pure slice", Layout.OFFICIAL: "KuaiRand-Pure"}

# Authors and users are numbered apart in the files, and some numbers stand in both: without this, a post could be taken for
# the viewer's own, or a follow for one of a user.
AUTHOR_OFFSET = 1_000_000_000


class KuaiRand:
    """Adapter of one folder. Days are Beijing days of `time_ms` (the logs' own `date` disagrees in about 1 % of rows)."""

    name = "kuairand"
    place = ""
    simulated = False
    notes: tuple[str, ...] = ()
    derived_impressions = False
    distinct_ids = False
    sampled_negatives = 0
    repeats = 0
    day_offset: timedelta = BEIJING
    earliest = EARLIEST
    splits = Splits.of_days(
        date(2022, 5, 1), (date(2022, 5, 2), date(2022, 5, 3)), (date(2022, 5, 4), date(2022, 5, 5)), BEIJING
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = files_of(folder)
        self.label = LABELS[self.files.layout]

    def fingerprint(self) -> str:
        """SHA-256 over the names and bytes of the files, 16 hex digits."""
        return files_fingerprint(self.files.all())

    def refuse_missing(self) -> None:
        """Nothing can be missing: its files were found by their names."""

    def event_batches(self) -> Iterator[SplitEvents]:
        """Log by log: all exposures, then prior histories; an event of an unlisted video is malformed, with its reason."""
        authors = self._videos.select("video_id", "author_id")
        for part in self._event_parts(authors):
            yield self._part_malformed(part)

    def posts(self) -> pl.DataFrame:
        return posts_of(self._videos, self.files.videos)

    def users(self) -> pl.DataFrame:
        return users_of(read_raw(self.files.users, USERS), self.files.users)

    def left_out(self) -> dict[str, pl.DataFrame]:
        """No row of them breaks a rule."""
        return {}

    def edges(self) -> None:
        """The files declare no graph."""

    def tables(self) -> ContractTables:
        """Everything above in one piece."""
        return whole_tables(self)

    @cached_property
    def _videos(self) -> pl.DataFrame:
        return read_raw(self.files.videos, VIDEOS).with_columns(pl.col("author_id") + AUTHOR_OFFSET)

    def _part_malformed(self, events: pl.DataFrame) -> SplitEvents:
        unlisted = pl.col("author_id").is_null()
        split = split_events(events.filter(~unlisted))
        strangers = events.filter(unlisted).with_columns(reason=pl.lit(f"post_id is not listed in {self.files.videos.name}"))
        return SplitEvents(good=split.good, dead=pl.concat([strangers, split.dead]))

    def _event_parts(self, authors: pl.DataFrame) -> Iterator[pl.DataFrame]:
        # Standard and randomised logs are numbered apart, so ids do not move when only one of the two is there.
        for prefix, logs in (("kr", self.files.standard), ("kr-r", self.files.random)):
            if logs:
                log = pl.concat([read_raw(file, LOG) for file in logs])
                yield exposure_events(log, authors, prefix, pool=authors.height)
        if self.files.history is not None:
            yield history_events(read_raw(self.files.history, HISTORY), authors)
