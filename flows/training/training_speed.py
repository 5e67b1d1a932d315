"""How fast this machine trains: what a training will take, and how many exposures fit into the time there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from feature_repo.feature_rows import FeatureRows
from flows.training.sampled_users import LEAST_ROWS
from infra.storage import replace_atomically

FILE = "training_speed.json"  # in the home folder
OF_SPEED = ("preset", "members", "teacher_share", "kept_negatives", "ensemble", "slates", "epochs", "threads", "device")
PROBE_ROWS, PROBE_BATCH = 2_000, 256
# The probe times the first steps of one network. A whole training also fits the two towers, the trees that teach, the ensemble
# and the light ranker, so it handles fewer exposures a second: about this share of the probe's.
WHOLE_OF_PROBE = 0.35
FASTEST_ROWS_PER_S = 2_000  # exposures a second of a whole training; two cores were never faster


@dataclass(frozen=True)
class Speed:
    """Exposures a second of whole trainings, and where the figure is from."""

    rows_per_s: float
    source: str

    def seconds(self, rows: int) -> float:
        return rows / self.rows_per_s


def known_speed(home: Path, options: Mapping[str, Any]) -> Speed | None:
    """That of the last training with such `options` under `home`; None before the first of LEAST_ROWS exposures or more."""
    file = home / FILE
    if not file.exists():
        return None
    kept = json.loads(file.read_text()).get(_key(options))
    return None if kept is None else Speed(kept["rows_per_s"], f"the last such training, of {kept['rows']:,} exposures")


def keep_speed(home: Path, options: Mapping[str, Any], rows: int, seconds: float) -> None:
    """Remember what a training of `rows` exposures took; one of few says nothing of the speed, and is forgotten."""
    if rows < LEAST_ROWS:
        return
    file = home / FILE
    kept = json.loads(file.read_text()) if file.exists() else {}
    kept[_key(options)] = {"rows": rows, "rows_per_s": rows / max(seconds, 1e-3)}
    with replace_atomically(file) as temporary:
        temporary.write_text(json.dumps(kept, indent=2))


def probed_speed(train: FeatureRows, options: Mapping[str, Any]) -> Speed:
    """Measured on the first steps of one network on a few of the rows: some seconds."""
    from dataclasses import replace

    import numpy as np

    from flows.training.fit_heavy import SCHEDULE, fit_heavy
    from flows.training.hardware import torch_threads
    from flows.training.learned_rows import LearnedRows
    from flows.training.recipe import Recipe

    how = Recipe(**options)
    few = train.take(np.arange(max(0, len(train) - PROBE_ROWS), len(train)))
    learned = LearnedRows.of(few, how.seed)
    labels = learned.rows.labels[learned.fitted.chosen].astype(np.float32)
    schedule = replace(SCHEDULE, epochs=1, batch=PROBE_BATCH)
    named = {"seed": how.seed, "fingerprint": "probe", "schedule": schedule}
    with TemporaryDirectory(prefix="probe-") as folder, torch_threads(1):
        _, trained = fit_heavy(learned.fitted, labels, checkpoints=Path(folder), **named)
    networks = how.epochs * max(1.0, how.members / max(1, how.threads))
    return Speed(trained.rows_per_second / networks * WHOLE_OF_PROBE, "a probe of some steps on this machine")


def _key(options: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={options[name]}" for name in OF_SPEED if name in options)
