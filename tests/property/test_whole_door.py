"""A whole file, one of whose columns has any type: the column is refused by name, or each row is kept or left out by name."""

from __future__ import annotations

import json
import math
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.own.adapter import OwnData
from tests.own_files import START, event, own, read
from tests.property.test_own_door import columns, exact

COLUMNS = (
    *("event_id", "user_id", "post_id", "author_id", "action", "value", "product", "position"),
    *("release", "propensity", "request_id", "occurred_at"),
)
FORMS = ("parquet", "jsonl", "csv")


def written_as(value: object) -> object:
    """A cell of a file without types."""
    return value if isinstance(value, bool | int | float) and math.isfinite(value) else str(value)


def written(folder: Path, column: str, values: pl.Series, form: str) -> None:
    """The file of events whose `column` holds `values`."""
    rows = pl.DataFrame([event(place, occurred_at=START + timedelta(minutes=place)) for place in range(values.len())])
    frame = rows.with_columns(values.alias(column))
    file = folder / f"events.{form}"
    match form:
        case "parquet":
            frame.write_parquet(file)
        case "csv":
            frame.write_csv(file)
        case _:
            file.write_text("".join(json.dumps(row, default=str) + "\n" for row in frame.iter_rows(named=True)))


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(COLUMNS), columns(), st.sampled_from(FORMS))
def test_no_row_is_lost_whatever_one_column_holds(column: str, values: pl.Series, form: str) -> None:
    assume(values.dtype != pl.Duration)  # which Parquet stores as numbers
    if form != "parquet":  # which hold no types
        values = pl.Series("theirs", [None if value is None else written_as(value) for value in values], strict=False)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, column, values, form)
        try:
            adapter = own(folder)
            found = read(adapter)
        except (MalformedFile, ActionError) as refused:
            assert column in str(refused) or "more than half" in str(refused) or "can't be read" in str(refused), str(refused)
            return
        counts = adapter.counts
        ours = found.good.filter(~pl.col("event_id").str.contains("^(sampled|derived)-"))
        assert counts.rows == values.len() == ours.height + found.dead.height + counts.repeats + counts.skipped + counts.silent
        assert found.dead["reason"].is_not_null().all()
        if column not in ("event_id", "action", "occurred_at"):
            for event_id, held in ours.select("event_id", back(adapter, column, ours)).rows():
                assert comes_back(values[int(event_id[1:])], held), (values[int(event_id[1:])], held)


def back(adapter: OwnData, column: str, events: pl.DataFrame) -> pl.Series:
    """A column of events as their owner writes it."""
    if column not in ("user_id", "post_id", "author_id"):
        return events[column]
    return adapter.ids.texts(column.removesuffix("_id"), events[column]).alias(column)


def comes_back(given_: object, held: object) -> bool:
    """Whether a kept row holds what its cell said; only an empty cell may have become nothing."""
    said = None if given_ is None or not str(given_).strip() else given_
    if said is None:
        return True
    if held is None:
        return False
    if isinstance(said, date):  # a moment too; polars writes its fraction in full
        return str(said) == str(held) or str(said) == str(datetime.fromisoformat(held))
    if exact(said) is not None and exact(held) is not None:
        return exact(said) == exact(held) or abs(float(exact(said)) - float(held)) <= abs(float(held)) * 2**-23
    return str(said) == str(held) or str(said).strip() == str(held) or str(said).lower() == str(held)
