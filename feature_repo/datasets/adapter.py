"""What every dataset gives the platform: contract tables, the days they are split by, and a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from feature_repo.contracts import SplitEvents
from feature_repo.datasets.splits import Splits
from infra.settings import Settings

if TYPE_CHECKING:
    from feature_repo.datasets.world.adapter import WorldAdapter


class MalformedFile(ValueError):
    """A dataset file cannot be read as its format asks; the message names the file, the column and the row."""

    def __init__(self, file: Path, problem: str, *, column: str | None = None, row: int | None = None) -> None:
        place = str(file)
        if column is not None:
            place += f", column {column!r}"
        if row is not None:
            place += f", row {row}"
        super().__init__(f"{place}: {problem}")
        self.file = file
        self.column = column
        self.row = row  # counted from 1, the header of a CSV file not counted


class DatasetNotFound(FileNotFoundError):
    """The chosen dataset is nowhere on the search path."""


@dataclass(frozen=True)
class ContractTables:
    """A dataset in the shape of the contracts; `malformed` has the columns of `events` and a `reason`."""

    events: pl.DataFrame
    posts: pl.DataFrame
    users: pl.DataFrame
    malformed: pl.DataFrame
    edges: pl.DataFrame | None = None  # None: the dataset declares no graph, so ingestion derives one


class DatasetAdapter(Protocol):
    """One source of contract tables.

    Events come in batches, so that a dataset may be larger than memory; the other tables are whole frames. Posts and users may
    be derived from events, so a reader that wants both asks for `event_batches` first: it saves a second reading.
    """

    name: str  # names the lake parts: short, lower case, stable
    label: str  # what reports and pages call it
    place: str  # where it is read from; one label at two places is two datasets. Empty where the label says all
    simulated: bool  # true: whatever is computed on it is labelled simulated
    day_offset: timedelta  # the local time zone whose midnight parts the days
    earliest: datetime  # the first moment that is believed; events before it are dead letters
    splits: Splits | None  # None: chosen from where the events are
    notes: tuple[str, ...]  # what was derived, sampled or left out, and what can therefore not be judged; whole sentences
    derived_impressions: bool  # true: exposures were inferred from interactions, so calibration and off-policy can't be judged
    repeats: int  # events left out by the last reading because their event_id stands in an earlier event
    distinct_ids: bool  # true: no two events that it gives have one event_id, so none has to look for repeats
    sampled_negatives: int  # exposures that were drawn for each derived one; 0 = none

    def fingerprint(self) -> str:
        """Hash of everything the tables depend on: equal fingerprints mean equal tables."""
        ...

    def refuse_missing(self) -> None:
        """Raise MalformedFile where a file or column that is needed is not there; reads no rows."""
        ...

    def event_batches(self) -> Iterator[SplitEvents]:
        """Every event once, in batches of bounded size and no particular order; raises MalformedFile.

        `good` has exactly the columns of the events contract. `dead` has them too (null where a cell could not be read), then
        `reason`, and where the rows come from files of a user also `source_file`, `source_row` (from 1), `source_column` and
        `source_value` (where one is to blame) and `raw` (JSON).
        """
        ...

    def posts(self) -> pl.DataFrame:
        """All posts; raises MalformedFile."""
        ...

    def users(self) -> pl.DataFrame:
        """All users; raises MalformedFile."""
        ...

    def edges(self) -> pl.DataFrame | None:
        """The declared graph, or None where there is none; raises MalformedFile."""
        ...

    def left_out(self) -> dict[str, pl.DataFrame]:
        """Rows of posts, users and edges that broke a rule, by table; to be asked for after the events.

        Columns as those that `dead` of an event batch has behind the contract's.
        """
        ...

    def tables(self) -> ContractTables:
        """The whole dataset in memory; raises MalformedFile."""
        ...


def whole_tables(adapter: DatasetAdapter) -> ContractTables:
    """All batches of `adapter` joined, beside its other tables."""
    batches = list(adapter.event_batches())
    return ContractTables(
        events=pl.concat([batch.good for batch in batches]),
        posts=adapter.posts(),
        users=adapter.users(),
        malformed=pl.concat([batch.dead for batch in batches], how="diagonal"),
        edges=adapter.edges(),
    )


def open_adapter(settings: Settings) -> DatasetAdapter:
    """The dataset that the settings choose; `auto` takes your own events, else KuaiRand, else the simulated world.

    Raises DatasetNotFound where the chosen one is not there.
    """
    from feature_repo.datasets.search_path import find_kuairand, find_own, search_path

    searched = ", ".join(str(place) for place in search_path(settings))
    own = find_own(settings) if settings.dataset in ("auto", "own") else None
    if own is not None:
        from feature_repo.datasets.own.adapter import OwnData
        from feature_repo.ids import IdTable

        return OwnData(own, IdTable(settings.platform_database_url))
    if settings.dataset == "own":
        raise DatasetNotFound(
            f"MIXER_DATASET=own, but no file of events (events.csv, .tsv, .jsonl or .parquet) and no mapping.yaml is in "
            f"any of: {searched}. Point MIXER_DATA at your folder; `mixer data inspect FOLDER --write` makes a mapping."
        )
    if settings.dataset in ("auto", "kuairand"):
        folder = find_kuairand(settings)
        if folder is not None:
            from feature_repo.datasets.kuairand.adapter import KuaiRand

            return KuaiRand(folder)
        if settings.dataset == "kuairand":
            raise DatasetNotFound(
                f"KuaiRand-Pure was not found in any of: {searched}. Run `mixer data fetch kuairand`, "
                "point MIXER_DATA at its folder, or set MIXER_DATASET=world."
            )
    return open_world(settings)


def open_world(settings: Settings) -> WorldAdapter:
    """The simulated world that the settings describe, whichever dataset they choose."""
    from feature_repo.datasets.world.adapter import WorldAdapter
    from feature_repo.datasets.world.config import WorldConfig

    return WorldAdapter(config=WorldConfig(seed=settings.seed, users=settings.world_users, posts=settings.world_posts))
