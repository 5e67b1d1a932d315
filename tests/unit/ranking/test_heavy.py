"""The heavy ranker against an independent reading of its definition: one masked sequence, one dense first layer."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from feature_repo.feature_rows import BLOCKS, HEADS
from services.ranking.heavy import BlockSum, HeavyConfig, HeavyRanker
from services.ranking.inputs import TableBits, action_flags, row_tensors
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import WIDTHS, synthetic_rows


@pytest.fixture(scope="module")
def ranker() -> HeavyRanker:
    torch.manual_seed(1)
    model = HeavyRanker(HeavyConfig(WIDTHS, layers=3)).eval()
    with torch.no_grad():  # large enough weights that every path shows in the output
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _tensors(rows):
    return row_tensors(rows, Normaliser.fit(synthetic_rows(500).blocks), TableBits(surfaces=tuple(range(8))))


def _one_masked_sequence(model: HeavyRanker, rows) -> torch.Tensor:
    """Logits of N candidates of one request by plain full attention over [user | history | candidates] and a mask."""
    history = rows.history
    item = model.post(history.post) + model.author(history.author) + model.topic(history.topic)
    done = action_flags(history.actions) @ model.actions.weight.T
    exposures = item + done + model.product(history.product) + model.gap(history.gap) + model.dwell(history.dwell)
    user = model.user_token(rows.blocks["user"][:1]).unsqueeze(1)
    dense = torch.cat([rows.blocks[name] for name in BLOCKS], dim=1)
    weight = torch.cat([model.block_sum.projections[name].weight for name in BLOCKS], dim=1)
    blocks = F.gelu(dense @ weight.T + model.block_sum.bias, approximate="tanh")
    candidates = model.from_blocks(blocks) + model.post(rows.post) + model.author(rows.author) + model.topic(rows.topic)
    candidates = candidates + model.product(rows.product)
    x = torch.cat([user, exposures, candidates.unsqueeze(0)], dim=1)[0]
    context = 1 + history.post.shape[1]
    may_read = torch.zeros(len(x), len(x), dtype=torch.bool)
    may_read[context:, :context] = torch.cat([torch.tensor([True]), ~history.padding[0]])
    may_read[1:context, 1:context] = torch.ones(context - 1, context - 1).tril().bool() & ~history.padding[0]
    may_read |= torch.eye(len(x), dtype=torch.bool)
    for layer in model.layers:
        bias = torch.zeros(layer.attention_heads, len(x), len(x))
        bias[:, context:, 1:context] = layer.age_bias[history.age[0].long()].T.unsqueeze(1)
        x = x + layer.out(_attention(layer, layer.norm_attention(x), may_read, bias))
        x = x + layer.ffn(layer.norm_ffn(x))
    joined = model.norm_out(torch.cat([x[context:], blocks], dim=1))
    return model.output(F.gelu(model.tower(joined), approximate="tanh"))


def _attention(layer, x: torch.Tensor, may_read: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    key, value = layer.key_value(x).chunk(2, dim=1)
    query, width = layer.query(x), x.shape[1] // layer.attention_heads
    out = []
    for head in range(layer.attention_heads):
        part = slice(head * width, (head + 1) * width)
        logits = query[:, part] @ key[:, part].T / math.sqrt(width) + bias[head]
        out.append(logits.masked_fill(~may_read, -math.inf).softmax(-1) @ value[:, part])
    return torch.cat(out, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_context_once_then_candidates_equals_one_masked_sequence(ranker, seed):
    rows = _tensors(synthetic_rows(40, seed=seed, shared=True))
    torch.testing.assert_close(ranker(rows), _one_masked_sequence(ranker, rows), atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_shared_context_equals_the_same_context_repeated_by_row(ranker):
    rows = synthetic_rows(30, shared=True)
    repeated = rows.history.rows(np.zeros(len(rows), np.int64))
    by_row = _tensors(type(rows)(**{**vars(rows), "history": repeated}))
    torch.testing.assert_close(ranker(_tensors(rows)), ranker(by_row), atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_user_without_history_is_ranked_by_the_rest(ranker):
    rows = synthetic_rows(20, shared=True)
    history = rows.history
    history.post_id[:] = -1
    logits = ranker(_tensors(rows))
    assert torch.isfinite(logits).all()
    history.author_id[:], history.topic[:], history.actions[:], history.product[:], history.age_s[:] = 3, 4, 255, 2, 60.0
    torch.testing.assert_close(ranker(_tensors(rows)), logits)  # what stands behind padding is not read


@torch.no_grad()
@pytest.mark.parametrize("field", ["post_id", "actions", "product", "age_s", "dwell_s"])
def test_every_part_of_the_history_reaches_the_scores(ranker, field):
    rows = synthetic_rows(5, seed=3, shared=True)
    rows.history.post_id[:] = np.arange(50)
    rows.history.product[:], rows.history.age_s[:] = 2, 100.0 * np.arange(50, 0, -1)
    before = ranker(_tensors(rows))
    changed = getattr(rows.history, field)
    changed[:] = changed * 3 + 1 if field != "actions" else ~changed
    assert (ranker(_tensors(rows)) - before).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shared", ["none", "broadcast", "one row"])
def test_block_sum_equals_one_dense_layer_also_for_a_block_shared_by_all_rows(shared, training):
    torch.manual_seed(0)
    layer = BlockSum(WIDTHS, 16).train(training)
    layer.bias.normal_()
    blocks = {name: torch.randn(50, width) for name, width in WIDTHS.items()}
    if shared != "none":
        blocks["user"] = torch.randn(1, WIDTHS["user"]).expand(50 if shared == "broadcast" else 1, -1)
    weight = torch.cat([layer.projections[name].weight for name in BLOCKS], dim=1)
    dense = F.linear(torch.cat([blocks[name].expand(50, -1) for name in BLOCKS], dim=1), weight, layer.bias)
    torch.testing.assert_close(layer(blocks), dense, atol=1e-5, rtol=1e-5)


def test_one_logit_per_action_and_last_the_dwell(ranker):
    assert ranker(_tensors(synthetic_rows(7))).shape == (7, len(HEADS) + 1)


def test_config_round_trips_through_json():
    config = HeavyConfig(WIDTHS, bits=TableBits(post=9), d=32)
    assert HeavyConfig.from_json(config.as_json()) == config
