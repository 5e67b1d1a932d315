"""Trainings of tests: as long as it takes to show what is asserted, on rows that hold no more to learn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.training import fit_heavy, fit_light, fit_two_tower, survival


def shorten_training(patch: pytest.MonkeyPatch, *, heavy_steps: int | None = None) -> None:
    """Fewer slates for the light ranker and its figure, fewer steps for the two-tower and, if given, `heavy_steps`."""
    patch.setattr(fit_light, "SLATES", 40)
    patch.setattr(survival, "REQUESTS", 20)
    patch.setattr(fit_two_tower, "LEAST_STEPS", 20)
    if heavy_steps is not None:
        patch.setattr(fit_heavy, "LEAST_STEPS", heavy_steps)


def keep_checkpoints_often(patch: pytest.MonkeyPatch) -> None:
    """Let a heavy ranker's training of few steps have checkpoints to carry on from."""
    patch.setattr(fit_heavy, "SCHEDULE", replace(fit_heavy.SCHEDULE, checkpoint_every=20))
