"""What a sequence teaches beside its rows: each exposure is told from those before it, and from nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flows.training.next_exposure import NEXT_MASKS, NextExposure, Questions, next_loss
from flows.training.sequence_pass import sequence_outputs
from flows.training.user_sequences import SequenceBatch, UserSequences
from services.ranking.encoded_rows import EncodedRows
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import AGE_UNKNOWN, TableBits
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import WIDTHS
from tests.timelines import timelines

USERS, BEFORE = 4, 9


@pytest.fixture(scope="module")
def asked():
    rows = timelines(USERS, 3, BEFORE)
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    return batch, EncodedRows(rows, Normaliser.fit(rows.blocks)).rows(batch.row)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(3)
    ranker, following = HeavyRanker(HeavyConfig(WIDTHS, d=32, attention_heads=2, ffn=32)).eval(), NextExposure(32)
    with torch.no_grad():
        for parameter in (*ranker.parameters(), *following.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return ranker, following


def _answers(networks, batch: SequenceBatch, rows) -> tuple[np.ndarray, np.ndarray]:
    """Logits and outcomes, each (USERS, BEFORE - 1, heads): every undated exposure but a sequence's first is asked about."""
    with torch.no_grad():
        found = sequence_outputs(*networks, [batch], rows)
    return tuple(one.numpy().reshape(USERS, BEFORE - 1, len(NEXT_MASKS)) for one in (found.answers, found.questions[0].outcome))


def test_every_undated_exposure_but_the_first_is_asked_about(networks, asked):
    batch, rows = asked
    assert int((batch.tokens.age == AGE_UNKNOWN).sum()) == USERS * BEFORE
    _, outcome = _answers(networks, batch, rows)
    bits = batch.tokens.actions[:, 1:BEFORE].numpy()
    for place, mask in enumerate(NEXT_MASKS):
        np.testing.assert_array_equal(outcome[:, :, place], (bits & mask) != 0)


def test_an_answer_reads_what_was_done_before_and_neither_itself_nor_what_followed(networks, asked):
    batch, rows = asked
    changed_at = 4
    actions = batch.tokens.actions.clone()
    actions[:, changed_at] ^= 0b11
    other = replace(batch, tokens=replace(batch.tokens, actions=actions))
    before, after = (_answers(networks, one, rows)[0] for one in (batch, other))
    np.testing.assert_array_equal(before[:, :changed_at], after[:, :changed_at])  # answer k is of exposure k + 1
    assert (np.abs(before[:, changed_at:] - after[:, changed_at:]).max(axis=(0, 2)) > 1e-6).all()


def test_an_answer_reads_which_post_it_is_asked_about(networks, asked):
    batch, rows = asked
    post = batch.tokens.post.clone()
    post[:, BEFORE - 1] += 1
    other = replace(batch, tokens=replace(batch.tokens, post=post))
    before, after = (_answers(networks, one, rows)[0] for one in (batch, other))
    np.testing.assert_array_equal(before[:, :-1], after[:, :-1])
    assert np.abs(before[:, -1] - after[:, -1]).max() > 1e-6


def test_sequences_without_undated_exposures_ask_nothing_and_teach_nothing(networks):
    rows = timelines(2, 3, 0)
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    found = sequence_outputs(*networks, [batch], EncodedRows(rows, Normaliser.fit(rows.blocks)).rows(batch.row))
    assert found.answers.shape == (0, len(NEXT_MASKS))
    loss = next_loss(found.answers, found.questions, torch.ones(1))
    assert loss.item() == 0.0
    (loss + found.rows.sum()).backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in networks[1].parameters())


def test_the_loss_is_each_batch_s_mean_weighted_by_its_share():
    torch.manual_seed(5)
    sizes, share = (7, 0, 1), torch.tensor([0.5, 0.2, 0.3])
    logits = torch.randn(sum(sizes), len(NEXT_MASKS))
    questions = [Questions(torch.empty(1, 0, dtype=torch.bool), torch.rand(size, len(NEXT_MASKS)).round()) for size in sizes]
    parts = zip(logits.split(sizes), questions, share, strict=True)
    means = [
        weight * torch.nn.functional.binary_cross_entropy_with_logits(own, asked.outcome)
        for own, asked, weight in parts
        if len(asked)
    ]
    torch.testing.assert_close(next_loss(logits, questions, share), sum(means))
