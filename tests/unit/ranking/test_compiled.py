"""The compiled context and candidate passes against the same ranker in torch, on every instruction set of this processor."""

import ctypes
from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch

from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.heads import HEADS
from services.ranking import kernel
from services.ranking.compiled import CompiledRanker, NotCompilable
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import (
    AGE_BUCKETS,
    AGE_PADDING,
    DWELL_ROWS,
    PRODUCT_ROWS,
    HistoryTensors,
    TableBits,
    row_tensors,
)
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import WIDTHS, synthetic_rows

pytestmark = pytest.mark.slow  # each test compiles or compares a network

LEVELS = [level for level in (0, 3, 4) if level <= kernel.best_level()]
SIZES = [
    {"d": 32, "attention_heads": 2, "layers": 2},
    {"d": 128, "attention_heads": 4, "layers": 2, "ffn": 256, "hidden": 256},
    {"d": 48, "attention_heads": 1, "layers": 3, "ffn": 80, "hidden": 112},
]


def _ranker(sizes: dict) -> HeavyRanker:
    return _drawn_ranker(**sizes)


@cache
def _drawn_ranker(**sizes: int) -> HeavyRanker:
    torch.manual_seed(1)
    model = HeavyRanker(HeavyConfig(WIDTHS, **sizes)).eval()
    with torch.no_grad():  # large enough weights that every path shows in the output
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _tensors(rows):
    return row_tensors(rows, _normaliser(), TableBits())


@cache
def _normaliser() -> Normaliser:
    return Normaliser.fit(synthetic_rows(500).blocks)


def _scored(compiled: CompiledRanker, rows) -> np.ndarray:
    return compiled.score(rows, compiled.context(rows.blocks["user"][:1], rows.history))


@torch.no_grad()
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"d{sizes['d']}")
@pytest.mark.parametrize("count", [1, 47, 48, 49, 200])
def test_it_gives_the_logits_of_torch(sizes, level, count):
    model, rows = _ranker(sizes), _tensors(synthetic_rows(count, seed=count, shared=True))
    context = model.encode_context(rows.blocks["user"][:1], rows.history)
    expected = model.score(rows, context).numpy()
    found = _scored(CompiledRanker(model, threads=2, level=level), rows)
    np.testing.assert_allclose(found, expected, atol=3e-5 * np.abs(expected).max())


def _histories(*padded: int) -> HistoryTensors:
    """A full history, of which as many as `padded` says are missing in front; a history a number."""
    torch.manual_seed(2)
    full = _tensors(synthetic_rows(len(padded), seed=3)).history
    drawn = {"post": 1 << 12, "author": 1 << 12, "topic": 1 << 6, "actions": 1 << len(HEADS), "product": PRODUCT_ROWS}
    drawn |= {"age": AGE_BUCKETS, "gap": AGE_BUCKETS, "dwell": DWELL_ROWS}
    history = HistoryTensors(
        *(torch.randint(0, drawn[f.name], getattr(full, f.name).shape).to(getattr(full, f.name).dtype) for f in fields(full))
    )
    for row, missing in enumerate(padded):
        history.age[row, :missing] = AGE_PADDING
    return history


@torch.no_grad()
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"d{sizes['d']}")
@pytest.mark.parametrize("missing", [0, 1, 17, HISTORY_LENGTH - 1, HISTORY_LENGTH])
@pytest.mark.parametrize("length", [HISTORY_LENGTH, 15, 1])
def test_a_context_is_the_one_of_torch(sizes, level, missing, length):
    model = _ranker(sizes)
    whole = _histories(missing)
    history = HistoryTensors(*(getattr(whole, f.name)[:, -length:] for f in fields(whole)))
    user = torch.randn(1, WIDTHS["user"])
    expected = model.encode_context(user, history)
    packed = CompiledRanker(model, level=level).context(user, history)
    tokens, heads, pack = length + 1, sizes["attention_heads"], kernel.PACK
    padded, width = kernel.padded(tokens, pack), sizes["d"] // heads

    def read(address: int, *shape: int) -> np.ndarray:
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), shape)

    for depth in range(sizes["layers"]):
        keys = read(packed.context.keys[depth], heads, padded // pack, width, pack).swapaxes(2, 3).reshape(heads, padded, width)
        values = read(packed.context.values[depth], heads, width // pack, tokens, pack)
        values = values.transpose(0, 2, 1, 3).reshape(heads, tokens, width)
        bias = read(packed.context.bias[depth], heads, tokens)
        there = np.r_[True, ~history.padding[0].numpy()]  # what a token that is not there holds is read by nobody
        for found, wanted in ((keys[:, :tokens], expected.keys[depth]), (values, expected.values[depth])):
            wanted = wanted[0].numpy()
            np.testing.assert_allclose(found[:, there], wanted[:, there], atol=2e-5 * np.abs(wanted).max())
        assert (keys[:, tokens:] == 0).all()
        np.testing.assert_array_equal(bias, expected.biases[depth][0, :, 0].numpy())


@pytest.mark.parametrize("name", ["post", "dwell", "age"])
@pytest.mark.parametrize("row", [-1, 1 << 30])
def test_a_history_of_other_tables_is_refused(name, row):
    history = _histories(0)
    getattr(history, name)[0, 3] = row
    with pytest.raises(IndexError, match="a row that its table does not have"):
        CompiledRanker(_ranker(SIZES[0])).context(torch.zeros(1, WIDTHS["user"]), history)


def test_a_request_of_two_histories_is_refused():
    with pytest.raises(ValueError, match="one history, not 2"):
        CompiledRanker(_ranker(SIZES[0])).context(torch.zeros(1, WIDTHS["user"]), _histories(0, 0))


@torch.no_grad()
@pytest.mark.parametrize("level", LEVELS)
def test_a_candidate_scores_the_same_alone_and_among_others(level):
    model, rows = _ranker(SIZES[1]), _tensors(synthetic_rows(150, shared=True))
    compiled = CompiledRanker(model, threads=2, level=level)
    request = compiled.request(compiled.context(rows.blocks["user"][:1], rows.history), rows.blocks, rows.product)
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
    found = _scored(CompiledRanker(model), tensors)
    np.testing.assert_allclose(found, model.score(tensors, context).numpy(), atol=1e-4)


@torch.no_grad()
def test_rows_that_do_not_fit_are_refused():
    model, rows = _ranker(SIZES[0]), _tensors(synthetic_rows(5, shared=True))
    compiled = CompiledRanker(model)
    request = compiled.request(compiled.context(rows.blocks["user"][:1], rows.history), rows.blocks, rows.product)
    posts, matches = compiled.project(rows.blocks, rows.post, rows.author, rows.topic), compiled.matches(rows.blocks)
    with pytest.raises(ValueError, match="5 candidates one of 5 posts"):
        compiled.logits(request, posts, matches, np.arange(1, 6))
    with pytest.raises(ValueError, match="3 candidates for 5 posts"):
        compiled.logits(request, posts, matches[:3])
    assert compiled.logits(request, posts, matches[:0], np.arange(0)).shape == (0, len(HEADS) + 1)


def test_sizes_that_the_kernel_does_not_take_are_named():
    with pytest.raises(NotCompilable, match="'d / attention_heads': 8.0"):
        CompiledRanker(HeavyRanker(HeavyConfig(WIDTHS, d=32, attention_heads=4)))
    with pytest.raises(NotCompilable, match=f"9 and {len(HEADS) + 1}"):
        CompiledRanker(HeavyRanker(HeavyConfig(WIDTHS, layers=9)))
