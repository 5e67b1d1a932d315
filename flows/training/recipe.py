"""What decides how a bundle is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from feature_repo.heads import LEAST_TRAINED
from flows.training.negative_sampling import check_share
from services.ranking.calibration import check_method
from services.ranking.presets import DEFAULT


@dataclass(frozen=True)
class Recipe:
    """How a bundle is trained.

    `teacher_share` of the heavy ranker's targets is what boosted trees expect (see flows/training/teacher.py), the rest the
    labels. It learns from `kept_negatives` of each head's negatives and is set right for all of them; `calibration` is the
    method, auto takes the best of each head. The heavy ranker is of `members` networks, trained from different draws, whose
    mean is the answer. With `ensemble`, trees and popularity are stacked on it where that gains.
    """

    seed: int
    threads: int
    preset: str = DEFAULT
    members: int = 1
    teacher_share: float = 0.0
    kept_negatives: float = 1.0
    calibration: str = "auto"
    ensemble: bool = False
    epochs: int = 2  # in the third, tables of ids overfit (Zhang et al. 2022, "one-epoch phenomenon")
    patience: int = 0  # measurements on rows kept out without a gain that end the heavy ranker's training; 0 = none does
    slates: int | None = None  # of candidates that the light ranker learns from; None: as many as `fit_light` holds enough
    heads_least: int = LEAST_TRAINED  # exposures of either outcome that a head needs to be learned
    deciding_heads: Sequence[str] = ()  # that must be learned, since they decide over the bundle; none: the commonest decide
    device: str = "cpu"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"the heavy ranker is to be of {self.members} members; 1 is the least")
        if self.epochs < 1:
            raise ValueError(f"the networks are to learn for {self.epochs} epochs; 1 is the least")
        if self.slates is not None and self.slates < 1:
            raise ValueError(f"the light ranker is to learn from {self.slates} slates; 1 is the least")
        check_share(self.kept_negatives)
        check_method(self.calibration)

    def details(self) -> dict:
        left_out = ("threads", "device", "deciding_heads")  # of those that decide, what training made of them is told
        return {name: value for name, value in asdict(self).items() if name not in left_out}
