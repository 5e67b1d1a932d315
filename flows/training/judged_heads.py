"""Which actions a set of exposures can judge a model by."""

from __future__ import annotations

import numpy as np

from feature_repo.feature_rows import HEADS
from flows.training.compare import MIN_POSITIVES


def judged_heads(labels: np.ndarray, most: int, least: int = MIN_POSITIVES) -> tuple[str, ...]:
    """The `most` most common heads of which `labels` (n, len(HEADS)) hold `least` of either outcome, commonest first.

    Empty where no action is both taken and left out often enough.
    """
    positives = labels.sum(axis=0, dtype=np.int64)
    enough = np.minimum(positives, len(labels) - positives) >= least
    order = np.argsort(-positives, kind="stable")
    return tuple(HEADS[index] for index in order if enough[index])[:most]
