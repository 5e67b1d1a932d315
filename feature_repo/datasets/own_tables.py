"""Your own events: files that already have the columns of the contracts, as Parquet or JSON lines.

A folder with `events`, `posts` and `users` (`.parquet` or `.jsonl`), and `edges` where there is a declared graph. Columns that
the contract lets be null may be left out; times are timestamps or ISO 8601 text, in UTC where they name no zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from feature_repo.contracts import TABLES, ContractError, SplitEvents, check_table, split_events
from feature_repo.datasets.adapter import ContractTables, MalformedFile, whole_tables
from feature_repo.datasets.checked_files import RawColumn, cast_columns
from feature_repo.datasets.files_fingerprint import files_fingerprint
from feature_repo.plausible_times import EARLIEST

NEEDED = ("events", "posts", "users")
SUFFIXES = (".parquet", ".jsonl")


def table_file(folder: Path, name: str) -> Path | None:
    """The file of table `name` in `folder`, or None."""
    return next((file for suffix in SUFFIXES if (file := folder / f"{name}{suffix}").is_file()), None)


class OwnTables:
    """Adapter of one folder. The splits are chosen from where the events are."""

    name = "own"
    simulated = False
    notes: tuple[str, ...] = ()
    derived_impressions = False
    sampled_negatives = 0
    day_offset = timedelta(0)
    earliest = EARLIEST
    splits = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.label = f"own events ({folder.resolve().name})"

    def fingerprint(self) -> str:
        """Hash of the files."""
        optional = table_file(self.folder, "edges")
        files = [self._file(name) for name in NEEDED]
        return files_fingerprint(files if optional is None else [*files, optional])

    def event_batches(self) -> Iterator[SplitEvents]:
        """The events as given; those that break a row-level rule are dead, with their reason."""
        yield split_events(self._events)

    def posts(self) -> pl.DataFrame:
        return self._checked("posts")

    def users(self) -> pl.DataFrame:
        return self._checked("users")

    def edges(self) -> pl.DataFrame | None:
        return self._checked("edges") if table_file(self.folder, "edges") is not None else None

    def tables(self) -> ContractTables:
        return whole_tables(self)

    @cached_property
    def _events(self) -> pl.DataFrame:
        return self._read("events")

    def _file(self, name: str) -> Path:
        file = table_file(self.folder, name)
        if file is None:
            raise MalformedFile(self.folder / f"{name}.parquet", f"the file is missing (or {name}.jsonl); {NEEDED} are needed")
        return file

    def _checked(self, name: str) -> pl.DataFrame:
        try:
            return pl.from_arrow(check_table(name, self._read(name)))
        except ContractError as error:
            raise MalformedFile(self._file(name), str(error)) from error

    def _read(self, name: str) -> pl.DataFrame:
        file = self._file(name)
        try:
            frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_ndjson(file, infer_schema_length=None)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise MalformedFile(file, f"not readable as {file.suffix} ({error})") from error
        types = pl.from_arrow(TABLES[name].empty_table()).schema
        for field in TABLES[name]:
            if field.name in frame.columns:
                continue
            if not field.nullable and field.name != "attributes":
                raise MalformedFile(file, f"the column is missing; found {frame.columns}", column=field.name)
            empty = pl.lit([], types[field.name]) if field.name == "attributes" else pl.lit(None, types[field.name])
            frame = frame.with_columns(empty.alias(field.name))
        return cast_columns(file, frame, [RawColumn(column, dtype) for column, dtype in types.items()])
