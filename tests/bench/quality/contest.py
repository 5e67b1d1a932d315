"""Fit every contestant with every seed, one at a time, and keep nothing of it but its predictions."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.steps.progress import announce
from tests.bench.quality.kept import KeptPredictions, Predicted
from tests.bench.quality.peer import NotRun, Peer
from tests.bench.quality.rows import QualityRows


@dataclass
class Outcome:
    """Predictions by model, one for each seed, and why the other models have none."""

    predicted: dict[str, list[Predicted]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)


def contest(
    rows: QualityRows,
    peers: Sequence[Peer],
    folder: Path,
    *,
    seeds: Sequence[int],
    threads: int,
    only: Sequence[str] = (),
    again: bool = False,
) -> Outcome:
    """Predictions of all `peers`, taken from `folder` where they are kept.

    With `only` (keys of peers) nothing else is fitted; `again` fits these, or all, although they are kept.
    Raises ValueError for a key that nobody has.
    """
    strangers = set(only) - {peer.key for peer in peers}
    if strangers:
        raise ValueError(f"there is no peer {', '.join(sorted(strangers))}; choose of {', '.join(peer.key for peer in peers)}")
    kept = KeptPredictions(folder / "predictions", rows.fingerprint)
    extended = rows.with_vectors(seeds[0])
    outcome = Outcome()
    for peer in peers:
        wanted = not only or peer.key in only
        for seed in seeds if peer.seeded else seeds[:1]:
            if again and wanted:
                kept.forget(peer, seed)
            given = rows if peer.extends else extended
            reason = _fitted(given, peer, folder, kept, seed, threads) if wanted else None
            if reason is not None:
                outcome.not_run |= dict.fromkeys(peer.names, reason)
                break
            for name in peer.names:
                found = kept.load(peer, name, seed)
                if found is not None:
                    outcome.predicted.setdefault(name, []).append(found)
        for name in peer.names:
            if name not in outcome.predicted:
                outcome.not_run.setdefault(name, "left out of this run (--only)")
    return outcome


def _fitted(rows: QualityRows, peer: Peer, folder: Path, kept: KeptPredictions, seed: int, threads: int) -> str | None:
    """Fit and predict where that is not kept; the reason where the peer cannot run."""
    if all(kept.load(peer, name, seed) is not None for name in peer.names):
        return None
    announce(f"{' and '.join(peer.names)}, seed {seed}")
    start = time.perf_counter()
    try:
        models = peer.fit(rows.train, seed, threads, folder / "fits" / peer.key / f"{seed}-{rows.fingerprint}")
        fit_s = time.perf_counter() - start
        for name, predict in models.items():
            announce(f"{name}, seed {seed}: predicting")
            kept.save(peer, name, seed, Predicted(predict(rows.live), predict(rows.frozen), fit_s))
    except NotRun as reason:
        return str(reason)
    del models
    gc.collect()  # one fitted model in memory at a time
    return None
