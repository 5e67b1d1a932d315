"""Rows are shown with the ids that their owner knows."""

from __future__ import annotations

import polars as pl

from feature_repo.ids import IdTable
from feature_repo.ids.owner_ids import with_owner_ids


def test_each_column_of_ids_is_read_as_its_kind_and_a_number_nobody_knows_stays(tmp_path):
    ids = IdTable(f"sqlite:///{tmp_path / 'ids.db'}")
    texts = {"user": ["anna", "7"], "post": ["N1", "N2"], "author": ["desk", "ben"]}
    numbers = {kind: ids.numbers(kind, pl.Series(kind, names)) for kind, names in texts.items()}
    rows = pl.DataFrame(
        {
            "user_id": numbers["user"],
            "post_id": numbers["post"],
            "in_reply_to": [None, numbers["post"][0]],
            "author_id": [numbers["author"][0], 2**62 + 99],
            "position": [1, 2],
        }
    )
    assert with_owner_ids(rows, ids).rows() == [
        ("anna", "N1", None, "desk", 1),
        ("7", "N2", "N1", str(2**62 + 99), 2),
    ]
