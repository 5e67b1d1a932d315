"""Rows on disk: one .npy file a column, written piece by piece and mapped when read, so that no process holds all of them.

A folder is written beside its place and moved there when it is whole; its description comes last. Nothing in it runs code
when it is read.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.column_files import ColumnFiles, mapped
from feature_repo.feature_rows import BLOCKS, HEADS, HISTORY_LENGTH, MODEL_BLOCKS, FeatureRows, History
from infra.full_disk import told_when_full

# 3: masks of actions have 64 bits and surfaces are codes; 4: an action answers one exposure; 5: rows are as of their page.
FORMAT = 5
DESCRIPTION = "rows.json"
_IDS = ("user_id", "post_id", "author_id", "topic", "product")
_OUTCOMES = ("labels", "occurred_at", "dwell_s", "asked_us")
_READ_AT_ONCE = 1 << 20  # bytes
ROWS_AT_ONCE = 16_384  # of a piece, where nothing else is said


class DamagedRows(RuntimeError):
    """A folder of rows is not whole: its writing was cut off, or a file of it was changed."""


def write_rows(folder: Path, pieces: Iterable[FeatureRows]) -> int:
    """Write `pieces`, one after another, as the rows of `folder`; returns how many. Only one piece is held at a time.

    Every piece has a history for each of its rows, and the columns of the first. A folder that another process puts there
    meanwhile stays. Raises ValueError on pieces that do not fit together, or on none, and DiskFull where there is no room:
    then nothing is left of what was written.
    """
    folder = Path(folder)
    half = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    with told_when_full(half):
        half.mkdir(parents=True)
    try:
        rows = _write(half, pieces)
        try:
            half.rename(folder)
        except OSError:
            if not (folder / DESCRIPTION).exists():
                raise  # not a folder of rows: leave it, and say so
        return rows
    finally:
        shutil.rmtree(half, ignore_errors=True)


def pieces_of(rows: FeatureRows, size: int = ROWS_AT_ONCE) -> Iterator[FeatureRows]:
    """`rows` as `write_rows` takes them, in views of `size` rows: of mapped ones only a piece is in memory at a time."""
    return (rows.between(start, start + size) for start in range(0, len(rows), size))


def open_rows(folder: Path, *, verify: bool = True) -> FeatureRows:
    """The rows of `folder`, every column mapped from its file: an index or a slice reads those rows alone.

    `verify` reads every file once and compares its checksum; without it, only sizes and types are compared. Raises
    FileNotFoundError where nothing is there, and DamagedRows where what is there is not whole.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no rows in {folder}: write them first (write_rows)")
    content = _description(folder)
    arrays = {name: _mapped(folder, name, column, verify) for name, column in content["columns"].items()}
    try:
        return FeatureRows(
            **{name: arrays[name] for name in _IDS},
            blocks={name: arrays[f"block.{name}"] for name in MODEL_BLOCKS if name in BLOCKS or f"block.{name}" in arrays},
            history=History(**{name: arrays[f"history.{name}"] for name in History.__dataclass_fields__}),
            **{name: arrays.get(name) for name in _OUTCOMES},
            names={name: tuple(columns) for name, columns in content["names"].items()},
        )
    except KeyError as missing:
        raise DamagedRows(f"{folder / DESCRIPTION} names no column {missing}: {_REMEDY}") from missing


_REMEDY = "remove the folder, it is written again when it is asked for"


def _columns(rows: FeatureRows) -> dict[str, np.ndarray]:
    """Every array of `rows` under the name of its file."""
    named = {name: getattr(rows, name) for name in _IDS}
    named |= {name: getattr(rows, name) for name in _OUTCOMES if getattr(rows, name) is not None}
    named |= {f"block.{name}": rows.blocks[name] for name in MODEL_BLOCKS if name in BLOCKS or name in rows.blocks}
    return named | {f"history.{name}": getattr(rows.history, name) for name in History.__dataclass_fields__}


def _write(folder: Path, pieces: Iterable[FeatureRows]) -> int:
    names: dict[str, tuple[str, ...]] = {}
    rows = 0
    with ColumnFiles(folder) as files:
        for piece in pieces:
            if len(piece.history) != len(piece):
                raise ValueError(f"{len(piece)} rows share {len(piece.history)} histories; rows on disk need one each")
            names = names or piece.names
            if piece.names != names:
                raise ValueError(f"the piece from row {rows} on names its columns otherwise than the first one")
            files.append(_columns(piece))
            rows += len(piece)
        described = files.finish()
    if not described:
        raise ValueError("no rows to write: there was no piece")
    content = {"format": FORMAT, "heads": HEADS, "history": HISTORY_LENGTH, "rows": rows, "names": names}
    with told_when_full(folder / DESCRIPTION):
        (folder / DESCRIPTION).write_text(json.dumps({**content, "columns": described}, indent=1))
    return rows


def _description(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    try:
        content = json.loads(file.read_text())
        found = {"format": content["format"], "heads": content["heads"], "history": content["history"]}
        content["columns"], content["names"]  # noqa: B018
    except FileNotFoundError:
        raise DamagedRows(f"{folder} holds no {DESCRIPTION}: its writing was cut off; {_REMEDY}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRows(f"{file} cannot be read ({error!r}): {_REMEDY}") from error
    expected = {"format": FORMAT, "heads": list(HEADS), "history": HISTORY_LENGTH}
    if found != expected:
        raise DamagedRows(f"{folder} was written as {found}, this version reads {expected}: {_REMEDY}")
    return content


def _mapped(folder: Path, name: str, column: dict[str, Any], verify: bool) -> np.ndarray:
    """The array of one column file, compared with what the description says of it."""
    file = folder / f"{name}.npy"
    try:
        array = mapped(file)
    except FileNotFoundError:
        raise DamagedRows(f"{file} is not there, though {DESCRIPTION} names it: {_REMEDY}") from None
    except (ValueError, EOFError, OSError) as error:
        raise DamagedRows(f"{file} is not a whole array ({error}): {_REMEDY}") from error
    if array.dtype.str != column["dtype"] or list(array.shape) != column["shape"]:
        raise DamagedRows(
            f"{file} holds {array.dtype.str} {list(array.shape)}, not {column['dtype']} {column['shape']}: {_REMEDY}"
        )
    if verify and _checksum(file, array.nbytes) != column["crc32"]:
        raise DamagedRows(f"the content of {file} is not what was written into it: {_REMEDY}")
    return array


def _checksum(file: Path, content_bytes: int) -> int:
    """CRC-32 of the last `content_bytes` of a file: of the array without its header."""
    checksum = 0
    with file.open("rb") as stream:
        stream.seek(-content_bytes, os.SEEK_END)
        while part := stream.read(_READ_AT_ONCE):
            checksum = zlib.crc32(part, checksum)
    return checksum
