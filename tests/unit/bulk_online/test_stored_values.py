"""Stored values: what is refused, and forms of a column that mean the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.bulk_online.stored_values import stored_values
from feature_repo.view_schemas import Kind


def test_a_2_d_array_and_arrow_lists_are_stored_alike():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(table.reshape(-1)), 3)
    expected = stored_values(Kind.FLOATS, table)
    assert stored_values(Kind.FLOATS, fixed) == expected
    assert stored_values(Kind.FLOATS, pa.array(table.tolist(), pa.list_(pa.float32()))) == expected
    assert stored_values(Kind.FLOATS, pa.chunked_array([fixed[:1], fixed[1:]])) == expected


def test_a_slice_of_arrow_lists_is_stored_as_its_rows():
    lists = pa.array([[1], [2, 3], [], [4, -5, 600]], pa.large_list(pa.int64()))
    assert stored_values(Kind.INTS, lists[1:]) == stored_values(Kind.INTS, lists)[1:]


def test_more_lists_than_are_encoded_at_once_are_stored_one_by_one():
    lists = [list(range(row % 7)) for row in range(1_000)]
    whole = stored_values(Kind.INTS, pa.array(lists, pa.list_(pa.int64())))
    assert whole == [stored_values(Kind.INTS, pa.array([one], pa.list_(pa.int64())))[0] for one in lists]


def test_a_null_and_a_flat_column_of_lists_are_refused():
    with pytest.raises(ValueError, match="1 of 2 values are null"):
        stored_values(Kind.BYTES, pa.array([b"a", None]))
    with pytest.raises(ValueError, match=r"2-D array .* not an array of shape \(3,\)"):
        stored_values(Kind.FLOATS, np.zeros(3, np.float32))
