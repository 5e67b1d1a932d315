"""Soft targets come from other users' exposures alone, and only for the actions that are taught."""

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.training.evaluate import auc
from flows.training.teacher import soft_targets
from tests.synthetic_rows import synthetic_rows

TAUGHT = HEADS[:4]  # the most common ones of `synthetic_rows`
TAUGHT_AT = [HEADS.index(head) for head in TAUGHT]
UNTAUGHT_AT = [index for index, head in enumerate(HEADS) if head not in TAUGHT]


def targets_of(rows, share: float = 1.0) -> np.ndarray:
    return soft_targets(rows, share=share, seed=7, threads=1)


@pytest.mark.slow
def test_expectations_rank_the_outcomes_and_lie_between_none_and_certain():
    rows = synthetic_rows(8_000, seed=1)
    targets = targets_of(rows)
    assert targets.dtype == np.float32 and targets.shape == rows.labels.shape
    assert ((targets >= 0) & (targets <= 1)).all()
    assert auc(targets[:, 0], rows.labels[:, 0]) > 0.6
    np.testing.assert_array_equal(targets[:, UNTAUGHT_AT], rows.labels[:, UNTAUGHT_AT])


@pytest.mark.slow
def test_a_users_own_labels_never_move_that_users_expectations():
    rows = synthetic_rows(2_000, seed=1)
    before = targets_of(rows)
    own = rows.user_id == rows.user_id[0]
    rows.labels[own] = 1 - rows.labels[own]
    after = targets_of(rows)
    np.testing.assert_array_equal(after[own][:, TAUGHT_AT], before[own][:, TAUGHT_AT])
    assert (after[~own][:, TAUGHT_AT] != before[~own][:, TAUGHT_AT]).any()  # they do teach about others


def test_the_share_mixes_expectation_and_label():
    rows = synthetic_rows(1_000, seed=2)
    np.testing.assert_array_equal(targets_of(rows, 0.0), rows.labels.astype(np.float32))
    mixed = 0.25 * targets_of(rows) + 0.75 * rows.labels
    np.testing.assert_allclose(targets_of(rows, 0.25), mixed, atol=1e-6)


def test_one_user_has_nobody_to_learn_from_and_keeps_the_labels():
    rows = synthetic_rows(200, seed=3, users=1)
    np.testing.assert_array_equal(targets_of(rows), rows.labels.astype(np.float32))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match=f"teacher's share is {share}"):
        targets_of(synthetic_rows(200), share)
