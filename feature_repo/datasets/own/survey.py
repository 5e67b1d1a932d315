"""One reading of all events before any is mapped: what only the whole column can tell.

It finds how times and ids are to be read, which values the action column has, and which event ids stand in more than one row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from feature_repo.datasets.own.actions import IMPRESSION, ActionReader
from feature_repo.datasets.own.columns import Columns
from feature_repo.datasets.own.event_rows import blanks
from feature_repo.datasets.own.id_columns import IdCheck, IdReading
from feature_repo.datasets.own.mapping import EventsMapping
from feature_repo.datasets.own.reader import KIND, RawBatch, TableReader
from feature_repo.datasets.own.reasons import NO_TEXT
from feature_repo.datasets.own.refusal import Refusal
from feature_repo.datasets.own.times import Bounds, TimeCheck, TimeReading
from feature_repo.datasets.read_ahead import read_ahead
from feature_repo.datasets.repeats import EventIds

ID_COLUMNS = ("user_id", "post_id", "author_id")
TEXT_COLUMNS = ("event_id", "action", "surface", "release", "request_id")
MOST_ACTIONS = 1_000  # distinct values of an action column; more means that it is another column


@dataclass
class Survey:
    """What the whole file says; `refusals` end an ingestion."""

    rows: int = 0
    ids: dict[str, IdReading] = field(default_factory=dict)
    time: TimeReading | None = None
    actions: dict[str, int] = field(default_factory=dict)  # value of the action column -> rows
    has_impressions: bool = False
    rows_without_id: int = 0  # of a column of event ids
    rows_without_author: int = 0  # of a column of authors
    repeated_ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))  # hashes, sorted
    refusals: list[Refusal] = field(default_factory=list)


def survey_events(
    reader: TableReader,
    mapping: EventsMapping,
    columns: Columns,
    actions: ActionReader,
    bounds: Bounds,
    limit: int | None = None,
) -> Survey:
    """Read the deciding columns of all rows (`limit` of each file at most). Raises MalformedFile where a file is unreadable."""
    checks = {ours: IdCheck(columns[ours]) for ours in ID_COLUMNS if ours in columns}
    time = TimeCheck(columns["occurred_at"], mapping.time, bounds)
    wanted = [columns[ours] for ours in (*ID_COLUMNS, "occurred_at", "event_id", "action") if ours in columns]
    survey = Survey(refusals=_not_text(reader, columns))
    if survey.refusals:
        return survey
    event_ids = EventIds()
    for batch in read_ahead(reader.batches(list(dict.fromkeys(wanted)), limit=limit)):
        survey.rows += batch.frame.height
        for ours, check in checks.items():
            check.add(batch.frame[columns[ours]], _kinds(batch, columns[ours]), batch)
        time.add(batch.frame[columns["occurred_at"]], batch)
        if "author_id" in columns:
            survey.rows_without_author += _empty_cells(batch.frame[columns["author_id"]])
        if "action" in columns:
            _count_actions(survey, batch, columns["action"])
        if "event_id" in columns:
            given = batch.frame[columns["event_id"]]
            survey.rows_without_id += given.null_count()
            event_ids.add(given.drop_nulls().cast(pl.String))
    _decide(survey, checks, time)
    survey.repeated_ids = event_ids.repeated()
    survey.has_impressions = any(actions.ours(value) == IMPRESSION for value in survey.actions) or any(
        rule.action == IMPRESSION for rules in mapping.action_columns.values() for rule in rules
    )
    survey.has_impressions |= mapping.action is not None and mapping.action.action == IMPRESSION
    return survey


def _not_text(reader: TableReader, columns: Columns) -> list[Refusal]:
    """Columns of a Parquet file that are to be text and hold lists, structs or bytes."""
    if reader.table.format != "parquet":
        return []
    found = []
    for ours in TEXT_COLUMNS:
        for batch in reader.batches([columns[ours]], limit=1) if ours in columns else ():
            kind = batch.frame.dtypes[0]
            if isinstance(kind, NO_TEXT):
                found.append(
                    Refusal(batch.file, columns[ours], None, f"is of type {kind}, but {ours} is text; map another column")
                )
                break
    return found


def _empty_cells(values: pl.Series) -> int:
    blank = blanks(values) if values.dtype == pl.String else None
    return values.null_count() + (0 if blank is None else int(blank.sum()))


def _kinds(batch: RawBatch, column: str) -> pl.Series | None:
    return batch.frame[column + KIND] if column + KIND in batch.frame.columns else None


def _count_actions(survey: Survey, batch: RawBatch, column: str) -> None:
    for value, count in batch.frame[column].cast(pl.String).drop_nulls().value_counts().iter_rows():
        survey.actions[value] = survey.actions.get(value, 0) + count
        if len(survey.actions) > MOST_ACTIONS:
            survey.actions = {}
            problem = (
                f"has more than {MOST_ACTIONS:,} different values such as {value!r}, so it names no actions; map another column"
            )
            if not survey.refusals:
                survey.refusals.append(Refusal(batch.file, column, None, problem))
            return


def _decide(survey: Survey, checks: dict[str, IdCheck], time: TimeCheck) -> None:
    for ours, check in checks.items():
        reading = check.decide()
        if isinstance(reading, Refusal):
            survey.refusals.append(reading)
        else:
            survey.ids[ours] = reading
    decided = time.decide()
    if isinstance(decided, Refusal):
        survey.refusals.append(decided)
    else:
        survey.time = decided or TimeReading(unit="us")
