"""Rows of a CSV file that swallowed the lines below them, because a quote was opened and not closed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from feature_repo.datasets.adapter import MalformedFile

MOST_LINES = 20  # of a cell that was left out: an id or a time of so many lines is no cell


def refuse_open_quotes(root: Path, dead: pl.DataFrame) -> None:
    """Raise MalformedFile where a row that is left out holds lines of other rows: they would be lost without a word.

    dead: rows as `event_batches` gives them, of files under `root`. A row that could not be parsed at all has its text in
    `raw`; one with a broken cell has that in `source_value`.
    """
    if dead.is_empty():
        return
    unparsed = pl.col("source_column").is_null() & ~pl.col("raw").str.starts_with("{")
    below = pl.col("raw").str.strip_chars().str.count_matches("\n").fill_null(0)
    lines = pl.col("source_value").str.count_matches("\n").fill_null(0)
    found = dead.filter((unparsed & (below > 0)) | (lines >= MOST_LINES)).head(1)
    for row in found.select("source_file", "source_row").iter_rows(named=True):
        raise MalformedFile(
            root / row["source_file"],
            "a quote in this row is not closed, so that lines below it are taken for a part of it; close the quote, and write "
            'two ("") for one within a cell',
            row=row["source_row"],
        )
