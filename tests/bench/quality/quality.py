"""The whole bench: rows, contest, figures, differences, and the two files that hold the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra.settings import Settings
from infra.storage import replace_atomically
from tests.bench.quality import boosted, ours
from tests.bench.quality.contest import Outcome, contest
from tests.bench.quality.differences import differences
from tests.bench.quality.figures import leak_warnings, model_figures, ndcg_of_chance
from tests.bench.quality.peer import Peer
from tests.bench.quality.report import markdown
from tests.bench.quality.roster import roster
from tests.bench.quality.rows import TEST_DAYS, TRAINED_UNTIL, QualityRows, quality_rows

TABLES = "quality.md"


def bench_quality(
    settings: Settings,
    folder: Path,
    *,
    seeds: int = 3,
    draws: int = 500,
    only: Sequence[str] = (),
    again: bool = False,
    user_share: float = 1.0,
) -> dict[str, Any]:
    """Judge every model on the test days and write `quality.json` and `quality.md` into `folder`.

    Predictions are kept there: called again, only what is missing is fitted. Seeds count up from the settings' own.
    """
    start = time.perf_counter()
    rows = quality_rows(settings, user_share)
    peers = roster(settings)
    numbers = list(range(settings.seed, settings.seed + seeds))
    outcome = contest(rows, peers, folder, seeds=numbers, threads=settings.threads, only=only, again=again)
    report = {
        **answer(rows, outcome, peers, draws=draws, seed=settings.seed),
        "seeds": numbers,
        "threads": settings.threads,
        "search": f"LightGBM: {boosted.TRIALS} trials of random search with early stopping on the newest two training days, "
        "whose time is in the first seed's fit.",
        "seconds": round(time.perf_counter() - start, 1),
    }
    report["data"]["user_share"] = user_share
    with replace_atomically(folder / "quality.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2))
    with replace_atomically(folder / TABLES) as temporary:
        temporary.write_text(markdown(report))
    return report


def answer(rows: QualityRows, outcome: Outcome, peers: Sequence[Peer], *, draws: int, seed: int) -> dict[str, Any]:
    """data, models, differences, not_run, notes, ndcg_of_chance and warnings."""
    reads = {name: peer.reads for peer in peers for name in peer.names}
    models = model_figures(outcome.predicted, rows)
    alone = _alone(outcome)
    return {
        "data": _data(rows),
        "models": {name: {"reads": reads[name], **figures} for name, figures in models.items()},
        "not_run": outcome.not_run,
        "differences": differences(
            {name: runs for name, runs in outcome.predicted.items() if not (alone and name == ours.CHAMPION)},
            rows,
            (ours.HEAVY, ours.CHAMPION),
            draws=draws,
            seed=seed,
        ),
        "notes": [f"The {ours.CHAMPION} is the {ours.HEAVY} alone: no bundle holds an ensemble."] if alone else [],
        "ndcg_of_chance": ndcg_of_chance(rows, seed),
        "warnings": [*leak_warnings(models), *rows.warnings],
    }


def _alone(outcome: Outcome) -> bool:
    """Whether the champion's probabilities are the heavy ranker's in every seed."""
    runs = [outcome.predicted.get(name, []) for name in (ours.HEAVY, ours.CHAMPION)]
    return all(runs) and all(np.array_equal(one.live, two.live) for one, two in zip(*runs, strict=True))


def _data(rows: QualityRows) -> Mapping[str, Any]:
    return {
        "fingerprint": rows.fingerprint,
        "trained_until": str(TRAINED_UNTIL),
        "train_rows": len(rows.train),
        "test_days": [str(day) for day in TEST_DAYS],
        "test_rows": len(rows.live),
        "test_users": len(np.unique(rows.live.user_id)),
        "user_days": len(np.unique(rows.user_day)),
    }
