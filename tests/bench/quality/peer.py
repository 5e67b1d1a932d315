"""One contestant of the bench: what it is called, how it is fitted, and what it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_repo.feature_rows import FeatureRows
from tests.bench.quality.measured_heads import Predict

ROOT = Path(__file__).resolve().parents[3]

# (training rows, seed, threads, a folder of its own for what it keeps while it fits) -> what was fitted, by name.
Fit = Callable[[FeatureRows, int, int, Path], dict[str, Predict]]


class NotRun(RuntimeError):
    """A peer cannot run on this machine; the message says why, and the table repeats it."""


@dataclass(frozen=True)
class Peer:
    """`names` are the models that one `fit` gives; `sources` the files and folders that decide what it gives."""

    key: str  # what --only takes
    names: tuple[str, ...]
    fit: Fit
    sources: tuple[str, ...]
    seeded: bool = True  # False: every seed gives the same, so one is enough
    reads: str = ""  # for the table: what it knows of a row
    extends: bool = False  # True: it adds the collaborative vectors to its rows itself, as our trainings do
    options: dict[str, Any] = field(default_factory=dict)  # of the settings, where they decide what it gives

    @property
    def code(self) -> str:
        """12 hex digits over its sources: other code is another model, whose kept predictions are not taken for this one's."""
        digest = hashlib.sha256()
        for source in self.sources:
            place = ROOT / source
            for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
                digest.update(f"{file.relative_to(ROOT)}\n".encode())
                digest.update(file.read_bytes())
        return digest.hexdigest()[:12]
