"""Our models, trained as the training flow trains them: the heavy ranker by itself, and all that its bundle holds."""

from __future__ import annotations

import shutil
from pathlib import Path

from feature_repo.feature_rows import FeatureRows
from flows.steps.progress import announce
from flows.training.chosen_options import training_options
from flows.training.fit import train_bundle
from infra.settings import get_settings
from services.ranking.bundle import ModelBundle
from services.ranking.presets import DEFAULT
from tests.bench.quality.measured_heads import Predict, measured

HEAVY, CHAMPION, MASKNET = "heavy ranker", "champion", "MaskNet"


def fit(train: FeatureRows, seed: int, threads: int, folder: Path) -> dict[str, Predict]:
    """The default preset with the settings' own options: the heavy ranker alone, and with the ensemble where it was chosen."""
    bundle = _trained(
        train, folder, **{**training_options(get_settings()), "seed": seed, "threads": threads, "preset": DEFAULT}
    )
    return {HEAVY: measured(bundle.heavy_predict), CHAMPION: measured(bundle.predict)}


def fit_masknet(train: FeatureRows, seed: int, threads: int, folder: Path) -> dict[str, Predict]:
    """Peer: the MaskNet preset, on what was logged and without a teacher, as it was published."""
    bundle = _trained(train, folder, seed=seed, threads=threads, preset="masknet", teacher_share=0.0)
    return {MASKNET: measured(bundle.heavy_predict)}


def _trained(train: FeatureRows, folder: Path, **options) -> ModelBundle:
    """The trained bundle; a broken training is carried on from its checkpoints in `folder`."""
    train_bundle(train, None, folder, **options, on_progress=_tell)
    bundle = ModelBundle.load(folder, threads=options["threads"])
    shutil.rmtree(folder)
    return bundle


def _tell(model: str, share: float, loss: float) -> None:
    announce(f"fitting {model}: {share:.0%}, loss {loss:.4f}")
