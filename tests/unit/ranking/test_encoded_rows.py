"""Rows encoded batch by batch are, bit for bit, the rows encoded all at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feature_repo.row_shards import open_rows, write_rows
from services.ranking.encoded_rows import EncodedRows
from services.ranking.inputs import (
    MOST_SURFACES,
    OTHER_SURFACE,
    RowTensors,
    TableBits,
    known_surfaces,
    product_rows,
    row_tensors,
)
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import synthetic_rows


@pytest.fixture(scope="module")
def rows():
    return synthetic_rows(700, seed=4)


@pytest.fixture(scope="module")
def mapped(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / "rows"
    write_rows(folder, [rows])
    return open_rows(folder)


@pytest.fixture(scope="module")
def whole(rows) -> RowTensors:
    return row_tensors(rows, Normaliser.fit(rows.blocks), TableBits())


def assert_same_tensors(one: RowTensors, other: RowTensors) -> None:
    for name in ("post", "author", "topic", "product"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for name in one.history.__dataclass_fields__:
        assert torch.equal(getattr(one.history, name), getattr(other.history, name)), name
    assert one.blocks.keys() == other.blocks.keys()
    for name, block in one.blocks.items():
        assert torch.equal(block, other.blocks[name]), name


def test_the_normaliser_of_mapped_blocks_is_that_of_blocks_in_memory(rows, mapped):
    ours, theirs = Normaliser.fit(mapped.blocks).arrays(), Normaliser.fit(rows.blocks).arrays()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_batch_is_that_of_the_rows_encoded_at_once(mapped, whole):
    encoded = EncodedRows(mapped, Normaliser.fit(mapped.blocks))
    assert len(encoded) == len(whole)
    for batch in torch.randperm(700, generator=torch.Generator().manual_seed(1)).split(128):
        assert_same_tensors(encoded.rows(batch), whole.rows(batch))


def test_chosen_rows_are_numbered_from_zero(mapped, whole):
    chosen = torch.arange(0, 700, 3)
    encoded = EncodedRows(mapped, Normaliser.fit(mapped.blocks), chosen=chosen.numpy())
    batch = torch.tensor([5, 0, 200])
    assert len(encoded) == len(chosen)
    assert_same_tensors(encoded.rows(batch), whole.rows(chosen[batch]))
    assert_same_tensors(encoded.select(torch.tensor([7, 9])).rows(torch.tensor([1, 0])), whole.rows(chosen[[9, 7]]))


def test_blocks_and_ids_of_all_rows_are_those_of_the_rows_encoded_at_once(mapped, whole):
    encoded = EncodedRows(mapped, Normaliser.fit(mapped.blocks))
    batch = torch.tensor([3, 3, 699])
    for name, block in whole.blocks.items():
        assert encoded.blocks[name].shape == tuple(block.shape)
        assert torch.equal(encoded.blocks[name][batch], block[batch])
    for name in ("post", "author", "topic", "product"):
        assert torch.equal(getattr(encoded, name), getattr(whole, name))


def test_rows_that_share_a_history_are_refused():
    shared = synthetic_rows(20, shared=True)
    with pytest.raises(ValueError, match="20 rows share 1 histories"):
        EncodedRows(shared, Normaliser.fit(shared.blocks))


def test_a_model_tells_apart_the_surfaces_that_it_met_and_lumps_the_others_together():
    codes = np.array([900, 7, 900, -1, 41], np.int32)
    surfaces = known_surfaces(codes)
    assert surfaces == (7, 41, 900)
    assert product_rows(np.array([7, 41, 900, 8, 10**9, -1]), surfaces).tolist() == [1, 2, 3, OTHER_SURFACE, OTHER_SURFACE, 0]
    assert product_rows(np.array([7, -1]), ()).tolist() == [OTHER_SURFACE, 0]


def test_of_too_many_surfaces_the_most_frequent_are_told_apart():
    codes = np.repeat(np.arange(1000, 1000 + MOST_SURFACES + 10), np.arange(MOST_SURFACES + 10, 0, -1))
    assert known_surfaces(codes) == tuple(range(1000, 1000 + MOST_SURFACES))
