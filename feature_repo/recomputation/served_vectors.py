"""The log of served vectors: a small sample of what the ranker really read, with the moments needed to compute it again.

One JSON line a request, in files of bounded size of which the newest are kept. Mixers append, the consistency flow reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

MOST_BYTES = 4 << 20  # of one file
FILES_KEPT = 8  # all mixers together


@dataclass(frozen=True)
class ServedVector:
    """The aggregates of one key as a request read them."""

    family: str  # user, post, author or topic
    key: int
    values: np.ndarray  # float32 (len(DERIVED_COLUMNS),): what the ranker got
    now_us: int  # the moment that the values had faded to: that of use, or of the tick before it
    updated_at_us: int  # time of the newest event in them, 0 for a key that nothing happened to
    read_at_us: int  # by the wall clock, at the latest: no later event can be in them
    as_of_us: int | None  # they were made of events before this moment; None: of all there were


class ServedVectorLog:
    """Where one process appends its sample. For one thread at a time."""

    def __init__(self, folder: Path, owner: str) -> None:
        """`owner` names the process in the files' names."""
        self._folder = folder
        self._owner = owner
        self._file: Path | None = None

    def append(self, request_id: str, release: str, vectors: Sequence[ServedVector]) -> None:
        """Add the vectors of one request as a line."""
        line = {"request_id": request_id, "release": release, "vectors": [vars(vector) for vector in vectors]}
        written = orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        with self._current(vectors[0].read_at_us).open("ab") as stream:
            stream.write(written)

    def _current(self, at_us: int) -> Path:
        if self._file is None or not self._file.exists() or self._file.stat().st_size > MOST_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = self._folder / f"served-{at_us}-{self._owner}.jsonl"
            for old in served_files(self._folder)[: -(FILES_KEPT - 1)]:
                old.unlink(missing_ok=True)  # another mixer may be dropping the same
        return self._file


def served_files(folder: Path) -> list[Path]:
    """The files of the log, those begun first first."""
    return sorted(folder.glob("served-*.jsonl"))


def read_served_vectors(folder: Path, since_us: int = 0) -> list[ServedVector]:
    """All logged vectors that were read at or after `since_us` (wall clock)."""
    found = (vector for file in served_files(folder) for vector in _vectors_of(file))
    return [vector for vector in found if vector.read_at_us >= since_us]


def _vectors_of(file: Path) -> Iterator[ServedVector]:
    for line in file.read_bytes().split(b"\n")[:-1]:  # a mixer may be writing the last one
        for fields in json.loads(line)["vectors"]:
            yield ServedVector(**{**fields, "values": np.array(fields["values"], np.float32)})
