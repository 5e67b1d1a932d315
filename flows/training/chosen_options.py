"""How a bundle is trained by default: what the settings say, for the training flow and for whoever measures it."""

from __future__ import annotations

from typing import Any

from feature_repo.chosen_heads import deciding_heads
from flows.training.limits import TrainingLimits
from infra.settings import Settings


def training_options(settings: Settings, limits: TrainingLimits | None = None) -> dict[str, Any]:
    """Keyword arguments of `train_bundle`: the settings', and what `limits` have otherwise.

    Raises HeadError where MIXER_DECIDING_HEADS names what is no head.
    """
    return {
        "seed": settings.seed,
        "threads": settings.threads,
        "preset": settings.ranker_preset,
        "members": settings.ranker_members,
        "teacher_share": settings.ranker_teacher_share,
        "kept_negatives": settings.ranker_kept_negatives,
        "calibration": settings.ranker_calibration,
        "ensemble": settings.ranker_ensemble,
        "patience": settings.ranker_patience,
        "heads_least": settings.heads_least,
        "deciding_heads": list(deciding_heads(settings)),
        "device": settings.train_device,
        "precision": settings.train_precision,
        **({} if limits is None else limits.options()),
    }
