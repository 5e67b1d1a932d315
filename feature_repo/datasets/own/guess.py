"""Guesses the mapping of files that nobody described: by the names of files and columns, then by values."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.actions import as_numbers
from feature_repo.datasets.own.files import FORMATS, delimiter_of, find_table, head_rows, is_table_file, suffix_of
from feature_repo.datasets.own.guess_names import (
    ACTIONS,
    EDGE_NAMES,
    EVENT_NAMES,
    EVENT_WORDS,
    POST_NAMES,
    RATING_WORDS,
    TABLE_WORDS,
    USER_NAMES,
    VIEW_WORDS,
    plain,
)
from feature_repo.datasets.own.mapping import FilesMapping, Mapping
from feature_repo.datasets.own.reader import KIND, RawBatch, TableReader
from feature_repo.datasets.own.times import Bounds, TimeCheck, TimeReading
from feature_repo.surfaces import DEFAULT_SURFACE

SAMPLE_ROWS = 20_000
MOST_ACTIONS = 60  # distinct values of a column that may name actions
MOST_ATTRIBUTE_VALUES = 200
NEEDED = ("user_id", "post_id", "occurred_at")  # of an event


@dataclass
class Guess:
    """A mapping as the file will hold it, what about it is doubtful, and what else is worth knowing (whole sentences)."""

    mapping: dict[str, Any]
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def checked(self) -> Mapping:
        return Mapping.model_validate(self.mapping)


def guess_mapping(place: Path) -> Guess:
    """The likeliest mapping of a file or folder. Raises MalformedFile where no file could hold events."""
    root = place if place.is_dir() else place.parent
    tables, doubts = ({"events": [place]}, []) if place.is_file() else _tables(root)
    guess = Guess({}, doubts)
    for name, files in tables.items():
        shown = [file.relative_to(root).as_posix() for file in files]
        guess.mapping[name] = _TABLES[name](root, shown, guess)
    return guess


# ---- which file is which table ------------------------------------------------------------------------------------
def _tables(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    files = sorted(file for file in root.rglob("*") if is_table_file(file))
    if not files:
        raise MalformedFile(root, f"there is no file of rows here ({', '.join(FORMATS)}, text also with .gz or .zst)")
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(_table_of(root, file), []).append(file)
    doubts = []
    if "events" not in found:  # a lone news.csv is a log, not a catalogue
        likeliest = _likeliest_logs(root, files)[0]
        table = next(name for name, members in found.items() if likeliest in members)
        found["events"] = found.pop(table)
        doubts.append(f"No file is named for events; {likeliest.name} is taken for them, by its columns and size.")
    found["events"] = _likeliest_logs(root, found["events"])
    for name, members in list(found.items()):
        kept = [file for file in members if suffix_of(file) == suffix_of(members[0])]
        kept = _same_columns(root, kept)
        if len(kept) < len(members):
            left = ", ".join(sorted(file.name for file in members if file not in kept))
            doubts.append(f"{name}: left out, as their format or columns differ from those of {kept[0].name}: {left}.")
        found[name] = sorted(kept)
    order = ("events", "posts", "users", "edges")
    return {name: found[name] for name in order if name in found}, doubts


def _likeliest_logs(root: Path, files: list[Path]) -> list[Path]:
    """`files` by how many of the columns that events need are in their headers, then by size; the likeliest log first."""

    def told(file: Path) -> int:
        columns = _reader(root, [file.relative_to(root).as_posix()], {}).columns
        return len(set(NEEDED) & _by_name(list(columns), EVENT_NAMES).keys())

    return sorted(files, key=lambda file: (-told(file), -file.stat().st_size, file)) if len(files) > 1 else files


def _same_columns(root: Path, files: list[Path]) -> list[Path]:
    first = _reader(root, [file.relative_to(root).as_posix() for file in files[:1]], {}).columns
    same = []
    for file in files:
        columns = _reader(root, [file.relative_to(root).as_posix()], {}).columns
        if set(first) <= set(columns) or suffix_of(file) in (".jsonl", ".ndjson"):
            same.append(file)
    return same


def _table_of(root: Path, file: Path) -> str:
    words = file.relative_to(root).as_posix().lower()
    name = file.name.lower()
    for text in (name, words):
        if any(word in text for word in EVENT_WORDS):
            return "events"
        for table, known in TABLE_WORDS.items():
            if any(word in text for word in known):
                return table
    return "events"


# ---- one table ----------------------------------------------------------------------------------------------------
def _reader(root: Path, files: list[str], table: dict[str, Any]) -> TableReader:
    options = {key: table[key] for key in ("delimiter", "header") if key in table}
    return TableReader(find_table(root, "events", FilesMapping(files=files, **options)))


def _opened(root: Path, files: list[str], names: dict[str, tuple[str, ...]]) -> tuple[dict[str, Any], pl.DataFrame]:
    """The table's mapping so far (files, header), and its first rows."""
    table: dict[str, Any] = {"files": files if len(files) > 1 else files[0]}
    first = root / files[0]
    if FORMATS[suffix_of(first)] == "csv" and (header := _missing_header(first)):
        table["header"] = header
    reader = _reader(root, files, table)
    frames = [batch.frame for batch in islice(reader.batches(reader.columns, limit=SAMPLE_ROWS), 4)]
    if not frames:
        raise MalformedFile(first, "the file has no rows below its header; there is nothing to guess from")
    frame = pl.concat(frames, how="vertical_relaxed")
    table["columns"] = _by_name([name for name in frame.columns if not name.endswith(KIND)], names)
    return table, frame


def _missing_header(file: Path) -> list[str] | None:
    """Names for the columns of a CSV file whose first line holds values: some cell is a number."""
    rows = head_rows(file, delimiter_of(file), 1)
    if not rows or not any(_is_number(cell) for cell in rows[0]):
        return None
    return [f"column_{place}" for place in range(1, len(rows[0]) + 1)]


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("+-").replace(".", "", 1).isdigit()


def _by_name(columns: list[str], names: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Our column -> theirs: for each of ours the likeliest name that is not taken."""
    found: dict[str, str] = {}
    for ours, known in names.items():
        free = {plain(theirs): theirs for theirs in reversed(columns) if theirs not in found.values()}
        if (hit := next((free[name] for name in known if name in free), None)) is not None:
            found[ours] = hit
    return found


def _guess_events(root: Path, files: list[str], guess: Guess) -> dict[str, Any]:
    table, frame = _opened(root, files, EVENT_NAMES)
    columns: dict[str, str] = table["columns"]
    if "header" in table:
        guess.doubts.append(f"{files[0]} has no header line; its columns are named column_1, column_2, ...: correct `columns`.")
    _guess_time(columns, frame, guess)
    for ours in NEEDED:
        if ours not in columns:
            left = ", ".join(name for name in frame.columns if name not in columns.values() and not name.endswith(KIND))
            guess.doubts.append(f"events: no column looks like {ours}; map one of: {left}.")
    _guess_actions(table, frame, guess)
    if "surface" not in columns:
        table["surface"] = DEFAULT_SURFACE
    return _finished(table, "events", frame, guess)


def _guess_time(columns: dict[str, str], frame: pl.DataFrame, guess: Guess) -> None:
    """Where no name says it, the first column whose values are times."""
    if "occurred_at" in columns:
        return
    bounds = Bounds.of(Mapping().earliest)
    for name in frame.columns:
        if name in columns.values() or name.endswith(KIND):
            continue
        check = TimeCheck(name, FilesMapping().time, bounds)
        check.add(frame[name], RawBatch("", frame, pl.int_range(1, frame.height + 1, eager=True)))
        if check.rows and isinstance(check.decide(), TimeReading):
            columns["occurred_at"] = name
            guess.doubts.append(f"events: column {name!r} is taken for the time because its values are times.")
            return


def _guess_actions(table: dict[str, Any], frame: pl.DataFrame, guess: Guess) -> None:
    columns: dict[str, str] = table["columns"]
    if "action" in columns:
        values = frame[columns["action"]].cast(pl.String, strict=False).drop_nulls()
        distinct = values.unique().sort().to_list()
        if len(distinct) <= MOST_ACTIONS:
            table["actions"] = _actions_of(distinct, guess)
            return
        guess.doubts.append(
            f"events: column {columns.pop('action')!r} has {len(distinct)} different values, so it is not taken for the action."
        )
    wide = {
        name: target for name in frame.columns if (target := _wide(name, frame)) is not None and name not in columns.values()
    }
    if wide:
        table["action_columns"] = wide
        table["impressions"] = "rows"
        guess.doubts.append("events: every row is taken for an impression, because actions stand in columns of their own.")
        return
    rating = next((name for name in frame.columns if plain(name) in RATING_WORDS), None)
    if rating is not None:
        highest = as_numbers(frame[rating])[0].max() or 5
        rules = [{"action": "like", "at_least": highest * 0.8}, {"action": "not_interested", "at_most": highest * 0.4}]
        table["action_columns"] = {rating: rules}
        table["impressions"] = "rows"
        guess.doubts.append(
            f"events: {rating!r} from {highest * 0.8:g} is taken for a like, up to {highest * 0.4:g} for dislike."
        )
        return
    table["action"] = "click"
    guess.doubts.append("events: no column says what users did, so every row is taken for a click; correct `action`.")


def _wide(name: str, frame: pl.DataFrame) -> Any:
    """The action of a column of 0 and 1 or counts that is named for one."""
    word = plain(name)
    target = ACTIONS.get(word) or ACTIONS.get(word.removeprefix("is")) or ACTIONS.get(word.removesuffix("s"))
    if target is None or target == "impression":
        return None
    numbers, _ = as_numbers(frame[name])
    return target if numbers.len() > numbers.null_count() and (numbers.min() or 0) >= 0 else None


def _actions_of(values: list[str], guess: Guess) -> dict[str, Any]:
    known = {value: ACTIONS.get(plain(value)) for value in values}
    beside_clicks = "click" in known.values() and "impression" not in known.values()
    for value in values:
        if plain(value) in VIEW_WORDS:
            known[value] = "impression" if beside_clicks else "click"
            told = "an impression" if beside_clicks else "a click (the opening of a page)"
            guess.doubts.append(f"events: action {value!r} is taken for {told}.")
        elif known[value] is None:
            guess.doubts.append(
                f"events: action {value!r} is not known, so such rows are skipped; give it an action or a name."
            )
    return known


def _guess_posts(root: Path, files: list[str], guess: Guess) -> dict[str, Any]:
    table, frame = _opened(root, files, POST_NAMES)
    _needs(table, "posts", "post_id", frame, guess)
    return _finished(table, "posts", frame, guess)


def _guess_users(root: Path, files: list[str], guess: Guess) -> dict[str, Any]:
    table, frame = _opened(root, files, USER_NAMES)
    _needs(table, "users", "user_id", frame, guess)
    taken = table["columns"].values()
    attributes = [
        name for name in frame.columns if not name.endswith(KIND) and name not in taken and _is_attribute(frame[name])
    ]
    if attributes:
        table["attributes"] = attributes
    return _finished(table, "users", frame, guess)


def _is_attribute(values: pl.Series) -> bool:
    kind = values.dtype
    names = kind in (pl.String, pl.Boolean) or kind.is_integer()
    return names and 1 < values.n_unique() <= min(MOST_ATTRIBUTE_VALUES, max(2, values.len() // 2))


def _guess_edges(root: Path, files: list[str], guess: Guess) -> dict[str, Any]:
    table, frame = _opened(root, files, EDGE_NAMES)
    for ours in ("user_id", "target_id"):
        _needs(table, "edges", ours, frame, guess)
    return _finished(table, "edges", frame, guess)


def _needs(table: dict[str, Any], name: str, ours: str, frame: pl.DataFrame, guess: Guess) -> None:
    if ours not in table["columns"]:
        found = ", ".join(column for column in frame.columns if not column.endswith(KIND))
        guess.doubts.append(f"{name}: no column looks like {ours}; map one of: {found}.")


def _finished(table: dict[str, Any], name: str, frame: pl.DataFrame, guess: Guess) -> dict[str, Any]:
    """The table as the mapping holds it: without columns that have our names already. Notes which columns are not used."""
    used = {*table["columns"].values(), *table.get("action_columns", {}), *table.get("attributes", ())}
    unused = [column for column in frame.columns if not column.endswith(KIND) and column not in used]
    if unused:
        columns = f"column {unused[0]} is" if len(unused) == 1 else f"columns {', '.join(unused)} are"
        guess.notes.append(f"{name}: {columns} not used; map what you need under `columns`.")
    table["columns"] = {ours: theirs for ours, theirs in table["columns"].items() if ours != theirs}
    return {key: value for key, value in table.items() if value not in ({}, None)}


_TABLES = {"events": _guess_events, "posts": _guess_posts, "users": _guess_users, "edges": _guess_edges}
