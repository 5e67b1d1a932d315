"""A pass over sequences against rows ranked one by one, each with its own history, and groups together against groups alone."""

import numpy as np
import pytest
import torch

from feature_repo.feature_rows import HISTORY_LENGTH, FeatureRows
from flows.training.next_exposure import NextExposure
from flows.training.sequence_pass import SequenceOutputs, sequence_outputs
from flows.training.user_sequences import ROWS_OF_SEQUENCE, UserSequences
from services.ranking.encoded_rows import EncodedRows
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import TableBits
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import WIDTHS
from tests.timelines import timelines


@pytest.fixture(scope="module")
def networks() -> tuple[HeavyRanker, NextExposure]:
    torch.manual_seed(2)
    both = HeavyRanker(HeavyConfig(WIDTHS, d=32, attention_heads=2, ffn=32)).eval(), NextExposure(32)
    with torch.no_grad():
        for network in both:
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return both


def _packed(networks, rows: FeatureRows) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of all rows by sequences, and by rows with a history each."""
    encoded = EncodedRows(rows, Normaliser.fit(rows.blocks))
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    with torch.no_grad():
        packed = sequence_outputs(*networks, [batch], encoded.candidates(batch.row)).rows
        by_row = networks[0](encoded.rows(batch.row))
    assert sorted(batch.row.tolist()) == list(range(len(rows)))
    return packed.numpy(), by_row.numpy()


@pytest.mark.parametrize("known_before", [0, 7])
def test_rows_of_a_sequence_are_ranked_as_they_are_one_by_one(networks, known_before):
    packed, by_row = _packed(networks, timelines(6, 12, known_before))
    np.testing.assert_allclose(packed, by_row, atol=2e-5)


def test_a_long_timeline_is_cut_and_the_next_sequence_begins_with_its_own_history(networks):
    rows = timelines(2, ROWS_OF_SEQUENCE + 5, 4)
    assert len(UserSequences.of(rows, np.arange(len(rows)), TableBits())) == 4
    packed, by_row = _packed(networks, rows)
    np.testing.assert_allclose(packed, by_row, atol=2e-5)


def test_a_full_history_moves_on_with_every_row(networks):
    packed, by_row = _packed(networks, timelines(3, 6, HISTORY_LENGTH + 3))
    # A later row's oldest exposures have read some that its own history has dropped: near, not equal.
    assert np.abs(packed - by_row).mean() < 0.05 * np.abs(by_row).mean()


def _of_groups(networks, rows: FeatureRows, groups: list[list[int]]) -> SequenceOutputs:
    """What a pass over groups of the rows' sequences finds, with the gradients of its sum left in the networks."""
    encoded = EncodedRows(rows, Normaliser.fit(rows.blocks))
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batches = [sequences.batch(np.array(group)) for group in groups]
    for network in networks:
        network.zero_grad()
    found = sequence_outputs(*networks, batches, encoded.candidates(torch.cat([batch.row for batch in batches])))
    (found.rows.square().sum() + found.answers.square().sum()).backward()
    return found


def test_groups_of_any_lengths_come_to_the_same_together_as_alone(networks):
    # Two users' sequences of 24 rows and of 5, then three users' of 3: groups of different shapes, part of two is padding.
    rows = timelines(5, ROWS_OF_SEQUENCE + 5, 4)
    rows = rows.take((rows.user_id < 2) | (rows.occurred_at <= np.unique(rows.occurred_at)[2]))
    groups = [[0, 1, 4], [5], [2, 3, 6]]
    together = _of_groups(networks, rows, groups)
    gradients = [parameter.grad.clone() for network in networks for parameter in network.parameters()]
    summed = [torch.zeros_like(gradient) for gradient in gradients]
    alone = []
    for group in groups:
        alone.append(_of_groups(networks, rows, [group]))
        for total, parameter in zip(summed, (p for network in networks for p in network.parameters()), strict=True):
            total += parameter.grad
    assert len(together.rows) == len(rows)
    assert [len(asked) for asked in together.questions] == [len(one.answers) for one in alone] == [9, 3, 9]
    torch.testing.assert_close(together.rows, torch.cat([one.rows for one in alone]), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(together.answers, torch.cat([one.answers for one in alone]), atol=2e-5, rtol=1e-5)
    for found, expected in zip(gradients, summed, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
        assert found.abs().sum() > 0


def test_in_mixed_precision_it_comes_near_and_every_gradient_is_finite(networks):
    rows = timelines(5, 6, 4).take(np.arange(27))  # sequences of different lengths: some places are empty
    exact = _of_groups(networks, rows, [[0, 1], [2, 3, 4]])
    with torch.autocast("cpu", torch.bfloat16):
        mixed = _of_groups(networks, rows, [[0, 1], [2, 3, 4]])
    assert 0 < float((mixed.rows - exact.rows).detach().abs().max()) < 0.05 * float(exact.rows.detach().abs().max())
    for network in networks:
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
