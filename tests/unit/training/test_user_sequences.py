"""Packed training rows against rows ranked one by one, each with its own history."""

import numpy as np
import pytest
import torch

from feature_repo.feature_rows import HISTORY_LENGTH, FeatureRows
from flows.training.user_sequences import ROWS_OF_SEQUENCE, UserSequences, sequence_outputs
from services.ranking.encoded_rows import EncodedRows
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import TableBits
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import WIDTHS
from tests.timelines import timelines


@pytest.fixture(scope="module")
def ranker() -> HeavyRanker:
    torch.manual_seed(2)
    model = HeavyRanker(HeavyConfig(WIDTHS, d=32, attention_heads=2, ffn=32)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _packed(model: HeavyRanker, rows: FeatureRows) -> tuple[np.ndarray, np.ndarray]:
    """Logits of all rows by sequences, and by rows with a history each."""
    encoded = EncodedRows(rows, Normaliser.fit(rows.blocks))
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    with torch.no_grad():
        logits, _ = sequence_outputs(model, batch, encoded.rows(batch.row))
        by_row = model(encoded.rows(batch.row))
    assert sorted(batch.row.tolist()) == list(range(len(rows)))
    return logits.numpy(), by_row.numpy()


@pytest.mark.parametrize("known_before", [0, 7])
def test_rows_of_a_sequence_are_ranked_as_they_are_one_by_one(ranker, known_before):
    packed, by_row = _packed(ranker, timelines(6, 12, known_before))
    np.testing.assert_allclose(packed, by_row, atol=2e-5)


def test_a_long_timeline_is_cut_and_the_next_sequence_begins_with_its_own_history(ranker):
    rows = timelines(2, ROWS_OF_SEQUENCE + 5, 4)
    assert len(UserSequences.of(rows, np.arange(len(rows)), TableBits())) == 4
    packed, by_row = _packed(ranker, rows)
    np.testing.assert_allclose(packed, by_row, atol=2e-5)


def test_a_full_history_moves_on_with_every_row(ranker):
    packed, by_row = _packed(ranker, timelines(3, 6, HISTORY_LENGTH + 3))
    # A later row's oldest exposures have read some that its own history has dropped: near, not equal.
    assert np.abs(packed - by_row).mean() < 0.05 * np.abs(by_row).mean()


def test_rows_of_one_moment_do_not_see_one_another():
    rows = timelines(1, 3, 2)
    order = np.argsort(rows.occurred_at)
    same = rows.take(np.r_[order[:2], order[1]])
    sequences = UserSequences.of(same, np.arange(3), TableBits())
    assert sequences.end.tolist() == [2, 3, 3]


def test_no_row_reads_an_exposure_of_another_user():
    rows = timelines(5, 4, 3)
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    assert not (batch.seen & batch.tokens.padding.unsqueeze(1)).any()
    assert batch.seen.sum(dim=2)[batch.there].tolist() == sequences.end.tolist()
