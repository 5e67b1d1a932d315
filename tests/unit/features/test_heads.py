"""Heads and masks: every action of the contract can be learned, and a mask holds all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contracts import Action
from feature_repo.heads import (
    COMPLETED,
    DISLIKED,
    HEAD_OF,
    HEADS,
    LIKED,
    MOST_HEADS,
    OPENED,
    OWN_SLOTS,
    flags_of,
    mask_of,
    masks_of,
)

FIRST_EIGHT = ("click", "video_view", "like", "profile_click", "follow", "reply", "share", "not_interested")


def test_every_action_but_exposure_and_dwell_is_a_head():
    assert set(HEADS) == {action.value for action in Action} - {"impression", "dwell"}
    assert len(HEADS) <= MOST_HEADS


def test_the_bits_that_stored_masks_use_do_not_move():
    assert HEADS[:8] == FIRST_EIGHT


def test_the_roles_part_the_heads():
    parts = (OPENED, COMPLETED, LIKED, DISLIKED)
    assert sorted(head for part in parts for head in part) == sorted(HEADS)
    assert all(len(slots) == 2 for slots in OWN_SLOTS.values())
    assert all(0 < head.prior_rate < 1 for head in HEAD_OF.values())


@given(st.lists(st.sets(st.sampled_from(HEADS)), min_size=0, max_size=6))
def test_a_mask_gives_back_the_actions_it_was_made_of(rows):
    flags = np.array([[head in row for head in HEADS] for row in rows], bool).reshape(len(rows), len(HEADS))
    masks = masks_of(flags)
    assert masks.dtype == np.uint64
    assert flags_of(masks).tolist() == flags.astype(int).tolist()
    assert masks.tolist() == [int(mask_of(tuple(row))) for row in rows]


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 5), (2, 3, 4)])
def test_masks_keep_the_shape_of_what_they_stand_for(shape):
    masks = masks_of(np.ones((*shape, len(HEADS)), np.uint8))
    assert masks.shape == shape
    assert flags_of(masks).shape == (*shape, len(HEADS))
    assert (masks == (1 << len(HEADS)) - 1).all()
