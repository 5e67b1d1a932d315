"""A column in a file of its own: a .npy array that is written piece by piece and mapped when it is read."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from infra.full_disk import told_when_full


class ColumnFile:
    """A .npy file that grows: its header keeps room for the number of rows, which is known at the end.

    Whatever writes raises DiskFull where there is no room.
    """

    def __init__(self, file: Path, first: np.ndarray) -> None:
        """Begin `file` for arrays such as `first`, which is not written yet."""
        self._dtype, self._tail = first.dtype, first.shape[1:]
        self._rows, self._checksum = 0, 0
        self._file = file
        with told_when_full(file):
            self._stream: BinaryIO = file.open("wb")
        self._write_header()
        self._begin = self._stream.tell()

    def append(self, column: np.ndarray) -> None:
        """Write more rows. Raises ValueError where they are not of the first array's type and width."""
        if column.dtype != self._dtype or column.shape[1:] != self._tail:
            raise ValueError(
                f"{self._file}: a piece is {column.dtype} {column.shape[1:]}, the first was {self._dtype} {self._tail}"
            )
        content = np.ascontiguousarray(column).reshape(-1).view(np.uint8)
        with told_when_full(self._file):
            self._stream.write(content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._rows += len(column)

    def finish(self) -> dict[str, Any]:
        """Write the header anew with what is known now; returns what the description says of the column."""
        with told_when_full(self._file):
            self._stream.seek(0)  # writes what is buffered
            self._write_header()
            self._stream.flush()
        if self._stream.tell() != self._begin:
            raise RuntimeError(f"{self._file}: {self._rows} rows do not fit into the header that was left for them")
        return {"dtype": self._dtype.str, "shape": [self._rows, *self._tail], "crc32": self._checksum}

    def close(self) -> None:
        with told_when_full(self._file):
            self._stream.close()

    def abandon(self) -> None:
        """Close a file that nobody will read: what is still buffered may find no room."""
        with suppress(OSError):
            self._stream.close()

    def _write_header(self) -> None:
        shape = (self._rows, *self._tail)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)


class ColumnFiles:
    """The columns of a table under `folder`, which grow together. A context: leaving it finishes and closes the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, ColumnFile] = {}

    def __enter__(self) -> ColumnFiles:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with ExitStack() as closing:
            for file in self._files.values():
                closing.callback(file.close if error is None else file.abandon)
            if error is None:
                self.finish()

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Write more rows of every column. Raises ValueError where the columns are not those of the first piece."""
        if not self._files:
            self._files = {name: ColumnFile(self._folder / f"{name}.npy", column) for name, column in columns.items()}
        if columns.keys() != self._files.keys():
            raise ValueError(f"a piece has the columns {sorted(columns)}, the first had {sorted(self._files)}")
        for name, column in columns.items():
            self._files[name].append(column)

    def finish(self) -> dict[str, dict[str, Any]]:
        """Write what is known at the end; returns `dtype`, `shape` and `crc32` by column."""
        return {name: file.finish() for name, file in self._files.items()}


def mapped(file: Path) -> np.ndarray:
    """The array of a .npy file, read-only, read from disk where it is looked at. Raises what `np.load` does."""
    # A plain array over the map: numpy's memmap class costs every gather some Python.
    return np.asarray(np.load(file, mmap_mode="r"))
