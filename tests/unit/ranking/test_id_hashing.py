import numpy as np
import pytest

from services.ranking.id_hashing import PADDING_ROW, hash_ids


def test_consecutive_ids_do_not_collide_while_the_table_is_half_empty():
    rows = hash_ids(np.arange(7_583), 14)
    assert len(np.unique(rows)) == 7_583


def test_only_negative_ids_take_the_padding_row():
    rows = hash_ids(np.array([-1, -9, 0, 1, 2**62]), 10)
    assert rows[:2].tolist() == [PADDING_ROW, PADDING_ROW]
    assert (rows[2:] != PADDING_ROW).all()
    assert rows.max() < 2**10


def test_shape_and_type_are_kept_for_the_embedding_lookup():
    rows = hash_ids(np.zeros((3, 5), np.int32), 8)
    assert rows.shape == (3, 5)
    assert rows.dtype == np.int32


def test_a_table_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="bits is 0"):
        hash_ids(np.arange(3), 0)
