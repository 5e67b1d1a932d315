"""Small files of events in other people's columns, and their adapter."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import yaml

from feature_repo.contracts import SplitEvents
from feature_repo.datasets.own.adapter import OwnData
from feature_repo.ids import IdTable

START = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def event(number: int, day: int = 0, **changes: object) -> dict[str, object]:
    """One event in the contract's columns, without those that may be left out."""
    plain = {"event_id": f"e{number}", "user_id": 1, "post_id": 5, "author_id": 9, "action": "impression", "product": "home"}
    return {**plain, "occurred_at": (START + timedelta(days=day)).isoformat(), **changes}


def write_lines(file: Path, rows: list[dict]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def write_csv(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def own(place: Path, mapping: dict | None = None) -> OwnData:
    """The adapter of a folder or file, with ids of its own and `NOW` as the present."""
    folder = place if place.is_dir() else place.parent
    if mapping is not None:
        (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    return OwnData(place, IdTable(f"sqlite:///{folder / 'ids.sqlite'}"), now=NOW)


def read(adapter: OwnData) -> SplitEvents:
    """All events and all dead rows."""
    batches = list(adapter.event_batches())
    return SplitEvents(pl.concat([one.good for one in batches]), pl.concat([one.dead for one in batches]))


def events_of(folder: Path, column: str, values: list, **changes: object) -> Path:
    """events.parquet in the contract's columns with `values` in `column`, one row each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [event(place, **changes) for place in range(len(values))]
    frame = pl.DataFrame(rows).with_columns(pl.Series(column, values, strict=False))
    frame.write_parquet(folder / "events.parquet")
    return folder
