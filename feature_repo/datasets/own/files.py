"""Finds the files of a table, and says how they are written: format, delimiter, column names."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.mapping import FILE_NAME, FilesMapping

Format = Literal["csv", "jsonl", "parquet"]

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
DELIMITERS = (",", "\t", ";", "|")
_HEAD = 1 << 20  # bytes of a file that are read to learn its columns


@dataclass(frozen=True)
class TableFiles:
    """The files of one table, all of one format."""

    root: Path
    files: tuple[Path, ...]
    format: Format
    delimiter: str = ","
    header: tuple[str, ...] | None = None  # names of a CSV file without a header line

    def shown(self, file: Path) -> str:
        """The file's name as messages and dead letters give it: relative to the mapping."""
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else str(file)


def suffix_of(file: Path) -> str:
    """The suffix that tells the format, without that of a compression: `.csv` of `events.csv.gz`."""
    return Path(file.stem).suffix.lower() if file.suffix.lower() in COMPRESSIONS else file.suffix.lower()


def compression_of(file: Path) -> str | None:
    """`gzip`, `zstd` or None."""
    return COMPRESSIONS.get(file.suffix.lower())


def is_table_file(file: Path) -> bool:
    """Whether the file's name says that it holds rows."""
    return file.is_file() and suffix_of(file) in FORMATS and not file.name.startswith((".", "_"))


def find_table(root: Path, table: str, mapping: FilesMapping | None) -> TableFiles | None:
    """The files of `table` in folder `root`: those that the mapping names, else `<table>.*` or folder `<table>`; or None.

    Raises MalformedFile where a named file is not there, or where files are of two formats.
    """
    mapping = mapping or FilesMapping()
    found = _named(root, mapping.files) if mapping.files else _by_table(root, table)
    if not found:
        return None
    formats = {FORMATS.get(suffix_of(file)) for file in found}
    odd = next((file for file in found if suffix_of(file) not in FORMATS), None)
    if odd is not None:
        raise MalformedFile(odd, f"{odd.suffix or 'a name without a suffix'} is no known format; use one of {_known()}")
    if len(formats) > 1:
        raise MalformedFile(
            root, f"table {table} has files of two formats: {', '.join(file.name for file in found[:6])}; keep one"
        )
    kind = formats.pop()
    delimiter = mapping.delimiter or (delimiter_of(found[0]) if kind == "csv" else ",")
    return TableFiles(root, tuple(found), kind, delimiter, tuple(mapping.header) if mapping.header else None)


def _known() -> str:
    return ", ".join(FORMATS) + " (text also with .gz or .zst)"


def holds_events(folder: Path) -> bool:
    """Whether `folder` has a mapping, or files of events under their plain name."""
    return folder.is_dir() and ((folder / FILE_NAME).is_file() or bool(_candidates(folder, "events")))


def _named(root: Path, names: list[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        place = root / name
        if place.is_dir():
            matches = sorted(file for file in place.rglob("*") if is_table_file(file))
        elif place.is_file():
            matches = [place]
        else:
            matches = sorted(file for file in root.glob(name) if file.is_file())
        if not matches:
            raise MalformedFile(place, "the mapping names this file and it is not there; correct `files` in the mapping")
        found += [file for file in matches if file not in found]
    return found


def _by_table(root: Path, table: str) -> list[Path]:
    beside = sorted(file for file in root.glob(f"{table}.*") if is_table_file(file))
    if len(beside) > 1:
        raise MalformedFile(
            beside[0], f"{', '.join(file.name for file in beside)} are all table {table}; keep one, or name it under `files`"
        )
    return _candidates(root, table)


def _candidates(root: Path, table: str) -> list[Path]:
    """Files named for the table, else all files of the folder named for it."""
    beside = sorted(file for file in root.glob(f"{table}.*") if is_table_file(file))
    return beside or sorted(file for file in (root / table).rglob("*") if is_table_file(file))


def head_of(file: Path) -> str:
    """The first lines of a text file, unpacked: about a MiB. Raises MalformedFile where it is no UTF-8 text."""
    try:
        with pa.input_stream(str(file), compression=compression_of(file)) as stream:
            content = stream.read(_HEAD)
    except (OSError, pa.ArrowInvalid) as error:
        raise MalformedFile(file, f"cannot be unpacked ({error})") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise MalformedFile(file, "is UTF-16; save it as UTF-8")
    cut = content.rfind(b"\n") + 1 if len(content) == _HEAD else len(content)
    try:
        return content[: cut or len(content)].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise MalformedFile(file, f"line {row} is no UTF-8 text; save the file as UTF-8") from error


def delimiter_of(file: Path) -> str:
    """What parts the cells of the first line: tab for .tsv, else the most frequent of , tab ; |."""
    if suffix_of(file) == ".tsv":
        return "\t"
    line = head_of(file).partition("\n")[0]
    return max(DELIMITERS, key=lambda one: (line.count(one), -DELIMITERS.index(one)))


def head_rows(file: Path, delimiter: str, rows: int) -> list[list[str]]:
    """The first `rows` lines of a CSV file as cells, the header among them."""
    # The csv module parts by one character only; longer delimiters are few, and never quoted.
    text = head_of(file)
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in text.splitlines()[:rows]]
    found: list[list[str]] = []
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if len(found) == rows:
            break
        if row:
            found.append(row)
    return found
