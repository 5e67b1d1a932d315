"""Unit: what a model is judged on that it may have learned from is counted and said."""

from __future__ import annotations

import numpy as np

from flows.evaluation.judged import already_seen

LEARNED_UNTIL = 1_651_593_598_740_000


def test_rows_that_are_no_later_than_the_training_are_counted():
    at_us = LEARNED_UNTIL + np.array([-5, 0, 1, 2])
    (told,) = already_seen(LEARNED_UNTIL, at_us, "exposures")
    assert told.startswith("2 of 4 exposures are no later than 2022-05-03T15:59:58.740+00:00")


def test_later_rows_are_judged_without_a_warning():
    assert already_seen(LEARNED_UNTIL, LEARNED_UNTIL + np.array([1, 2]), "decisions") == []
