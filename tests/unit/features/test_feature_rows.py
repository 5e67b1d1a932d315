"""Taking rows of a request: what they share stays shared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.synthetic_rows import synthetic_rows


@pytest.mark.parametrize("index", [np.array([2, 0, 2]), np.arange(6) % 2 == 0, slice(1, 4)], ids=["places", "mask", "slice"])
def test_a_block_that_all_rows_share_is_not_copied_for_each(index):
    rows = synthetic_rows(6, shared=True)
    shared = replace(rows, blocks={**rows.blocks, "user": np.broadcast_to(rows.blocks["user"][0], rows.blocks["user"].shape)})
    taken, expected = shared.take(index), rows.take(index)
    assert taken.blocks["user"].strides[0] == 0
    for name, block in expected.blocks.items():
        np.testing.assert_array_equal(taken.blocks[name], block)
