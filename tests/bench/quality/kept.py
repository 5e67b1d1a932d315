"""Predictions on disk: a run that broke carries on, and a model is fitted again only where the data or its code changed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infra.storage import replace_atomically
from tests.bench.quality.peer import Peer


@dataclass(frozen=True)
class Predicted:
    """One model of one seed: probabilities float32 (n, heads) of the live and the frozen rows, and the seconds of its fit."""

    live: np.ndarray
    frozen: np.ndarray
    fit_s: float


@dataclass(frozen=True)
class KeptPredictions:
    """Predictions under `folder`, each file named for everything that decides what is in it."""

    folder: Path
    fingerprint: str  # of the rows

    def load(self, peer: Peer, name: str, seed: int) -> Predicted | None:
        """What `save` wrote for the same data, code, options and seed; None where there is nothing whole."""
        file = self._file(peer, name, seed)
        notes = file.with_suffix(".json")
        if not notes.exists():
            return None
        live, frozen = np.load(file)
        return Predicted(live, frozen, json.loads(notes.read_text())["fit_s"])

    def save(self, peer: Peer, name: str, seed: int, predicted: Predicted) -> None:
        """The notes come last: where they are, the array is whole."""
        file = self._file(peer, name, seed)
        with replace_atomically(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.stack([predicted.live, predicted.frozen]))
        with replace_atomically(file.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({"model": name, "seed": seed, "fit_s": predicted.fit_s}))

    def forget(self, peer: Peer, seed: int) -> None:
        """Remove what is kept of one fit."""
        for name in peer.names:
            for suffix in (".json", ".npy"):
                self._file(peer, name, seed).with_suffix(suffix).unlink(missing_ok=True)

    def _file(self, peer: Peer, name: str, seed: int) -> Path:
        decided = f"{self.fingerprint}/{peer.code}/{json.dumps(peer.options, sort_keys=True)}"
        digest = hashlib.sha256(decided.encode()).hexdigest()[:12]
        return self.folder / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}-{seed}-{digest}.npy"
