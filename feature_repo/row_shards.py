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
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from feature_repo.feature_rows import BLOCKS, HEADS, HISTORY_LENGTH, FeatureRows, History

FORMAT = 1
DESCRIPTION = "rows.json"
_IDS = ("user_id", "post_id", "author_id", "topic", "product")
_OUTCOMES = ("labels", "occurred_at")
_READ_AT_ONCE = 1 << 20  # bytes


class DamagedRows(RuntimeError):
    """A folder of rows is not whole: its writing was cut off, or a file of it was changed."""


def write_rows(folder: Path, pieces: Iterable[FeatureRows]) -> int:
    """Write `pieces`, one after another, as the rows of `folder`; returns how many. Only one piece is held at a time.

    Every piece has a history for each of its rows, and the columns of the first. A folder that another process puts there
    meanwhile stays. Raises ValueError on pieces that do not fit together, or on none.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    half.mkdir()
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
            blocks={name: arrays[f"block.{name}"] for name in BLOCKS},
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
    named |= {f"block.{name}": rows.blocks[name] for name in BLOCKS}
    return named | {f"history.{name}": getattr(rows.history, name) for name in History.__dataclass_fields__}


def _write(folder: Path, pieces: Iterable[FeatureRows]) -> int:
    files: dict[str, _ColumnFile] = {}
    names: dict[str, tuple[str, ...]] = {}
    rows = 0
    try:
        for piece in pieces:
            if len(piece.history) != len(piece):
                raise ValueError(f"{len(piece)} rows share {len(piece.history)} histories; rows on disk need one each")
            columns = _columns(piece)
            files = files or {name: _ColumnFile(folder / f"{name}.npy", column) for name, column in columns.items()}
            names = names or piece.names
            if columns.keys() != files.keys() or piece.names != names:
                raise ValueError(f"the piece from row {rows} on has other columns than the first one")
            for name, column in columns.items():
                files[name].append(column)
            rows += len(piece)
        described = {name: file.finish() for name, file in files.items()}
    finally:
        for file in files.values():
            file.close()
    if not files:
        raise ValueError("no rows to write: there was no piece")
    content = {"format": FORMAT, "heads": HEADS, "history": HISTORY_LENGTH, "rows": rows, "names": names}
    (folder / DESCRIPTION).write_text(json.dumps({**content, "columns": described}, indent=1))
    return rows


class _ColumnFile:
    """A .npy file that grows: its header keeps room for the number of rows, which is known at the end."""

    def __init__(self, file: Path, first: np.ndarray) -> None:
        self._dtype, self._tail = first.dtype, first.shape[1:]
        self._rows, self._checksum = 0, 0
        self._stream: BinaryIO = file.open("wb")
        self._write_header()
        self._begin = self._stream.tell()

    def append(self, column: np.ndarray) -> None:
        if column.dtype != self._dtype or column.shape[1:] != self._tail:
            raise ValueError(
                f"{self._stream.name}: a piece is {column.dtype} {column.shape[1:]}, the first was {self._dtype} {self._tail}"
            )
        content = np.ascontiguousarray(column).reshape(-1).view(np.uint8)
        self._stream.write(content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._rows += len(column)

    def finish(self) -> dict[str, Any]:
        """Write the header anew with what is known now; returns what the description says of the column."""
        self._stream.seek(0)
        self._write_header()
        if self._stream.tell() != self._begin:
            raise RuntimeError(f"{self._stream.name}: {self._rows} rows do not fit into the header that was left for them")
        return {"dtype": self._dtype.str, "shape": [self._rows, *self._tail], "crc32": self._checksum}

    def close(self) -> None:
        self._stream.close()

    def _write_header(self) -> None:
        shape = (self._rows, *self._tail)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)


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
        # A plain array over the map: numpy's memmap class costs every gather some Python.
        array = np.asarray(np.load(file, mmap_mode="r"))
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
