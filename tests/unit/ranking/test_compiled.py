"""The compiled candidate pass against the same ranker in torch, on every instruction set that this processor has."""

import numpy as np
import pytest
import torch

from services.ranking import kernel
from services.ranking.compiled import CompiledRanker, NotCompilable
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import TableBits, row_tensors
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import WIDTHS, synthetic_rows

LEVELS = [level for level in (0, 3, 4) if level <= kernel.best_level()]
SIZES = [
    {"d": 32, "attention_heads": 2, "layers": 2},
    {"d": 128, "attention_heads": 4, "layers": 2, "ffn": 256, "hidden": 256},
    {"d": 48, "attention_heads": 1, "layers": 3, "ffn": 80, "hidden": 112},
]


def _ranker(sizes: dict) -> HeavyRanker:
    torch.manual_seed(1)
    model = HeavyRanker(HeavyConfig(WIDTHS, **sizes)).eval()
    with torch.no_grad():  # large enough weights that every path shows in the output
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _tensors(rows):
    return row_tensors(rows, Normaliser.fit(synthetic_rows(500).blocks), TableBits())


@torch.no_grad()
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"d{sizes['d']}")
@pytest.mark.parametrize("count", [1, 47, 48, 49, 200])
def test_it_gives_the_logits_of_torch(sizes, level, count):
    model, rows = _ranker(sizes), _tensors(synthetic_rows(count, seed=count, shared=True))
    context = model.encode_context(rows.blocks["user"][:1], rows.history)
    expected = model.score(rows, context).numpy()
    found = CompiledRanker(model, threads=2, level=level).score(rows, context)
    np.testing.assert_allclose(found, expected, atol=3e-5 * np.abs(expected).max())


@torch.no_grad()
@pytest.mark.parametrize("level", LEVELS)
def test_a_candidate_scores_the_same_alone_and_among_others(level):
    model, rows = _ranker(SIZES[1]), _tensors(synthetic_rows(150, shared=True))
    compiled = CompiledRanker(model, threads=2, level=level)
    request = compiled.request(model.encode_context(rows.blocks["user"][:1], rows.history), rows.blocks, rows.product)
    posts = compiled.project(rows.blocks, rows.post, rows.author, rows.topic)
    matches = compiled.matches(rows.blocks)
    among = compiled.logits(request, posts, matches)
    alone = [compiled.logits(request, posts, matches[at : at + 1], np.array([at])) for at in (0, 47, 48, 149)]
    np.testing.assert_array_equal(np.concatenate(alone), among[[0, 47, 48, 149]])
    turned = np.arange(150)[::-1]
    np.testing.assert_array_equal(compiled.logits(request, posts, matches[turned], turned), among[turned])


@torch.no_grad()
def test_a_user_without_history_is_ranked_by_the_rest():
    model, rows = _ranker(SIZES[0]), synthetic_rows(20, shared=True)
    rows.history.post_id[:] = -1
    tensors = _tensors(rows)
    context = model.encode_context(tensors.blocks["user"][:1], tensors.history)
    found = CompiledRanker(model).score(tensors, context)
    np.testing.assert_allclose(found, model.score(tensors, context).numpy(), atol=1e-4)


@torch.no_grad()
def test_rows_that_do_not_fit_are_refused():
    model, rows = _ranker(SIZES[0]), _tensors(synthetic_rows(5, shared=True))
    compiled = CompiledRanker(model)
    request = compiled.request(model.encode_context(rows.blocks["user"][:1], rows.history), rows.blocks, rows.product)
    posts, matches = compiled.project(rows.blocks, rows.post, rows.author, rows.topic), compiled.matches(rows.blocks)
    with pytest.raises(ValueError, match="5 candidates one of 5 posts"):
        compiled.logits(request, posts, matches, np.arange(1, 6))
    with pytest.raises(ValueError, match="3 candidates for 5 posts"):
        compiled.logits(request, posts, matches[:3])
    assert compiled.logits(request, posts, matches[:0], np.arange(0)).shape == (0, 9)


def test_sizes_that_the_kernel_does_not_take_are_named():
    with pytest.raises(NotCompilable, match="'d / attention_heads': 8.0"):
        CompiledRanker(HeavyRanker(HeavyConfig(WIDTHS, d=32, attention_heads=4)))
    with pytest.raises(NotCompilable, match="9 and 9"):
        CompiledRanker(HeavyRanker(HeavyConfig(WIDTHS, layers=9)))
