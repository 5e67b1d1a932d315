"""Posts' blocks derived once for a moment: the very ones that a request would derive for it."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.post_blocks import PostBlocks
from feature_repo.request_rows import candidate_rows
from tests.drawn_posts import AS_OF_US, drawn_snapshot, stored_user

MOMENT_US = AS_OF_US + 7_000_000_123


def test_looked_up_rows_are_those_that_the_request_derives_for_the_same_moment():
    snapshot, user = drawn_snapshot(), stored_user().at(MOMENT_US)
    posts = PostBlocks.derive(snapshot, MOMENT_US)
    asked = np.array([3, 59, -1, 0, 3, 17, -1])
    looked_up = candidate_rows(user, snapshot, asked, "for_you", MOMENT_US, posts)
    derived = candidate_rows(user, snapshot, asked, "for_you", MOMENT_US)
    assert looked_up.blocks.keys() == derived.blocks.keys()
    for name, block in derived.blocks.items():
        np.testing.assert_array_equal(looked_up.blocks[name], block)


def test_an_empty_snapshot_still_has_the_post_that_nobody_has_met():
    empty, user = drawn_snapshot(posts=0), stored_user().at(MOMENT_US)
    found = PostBlocks.derive(empty, MOMENT_US).of(np.array([-1, -1]))
    derived = candidate_rows(user, empty, np.array([-1, -1]), "for_you", MOMENT_US).blocks
    for name, block in found.items():
        np.testing.assert_array_equal(block, derived[name])


def test_posts_that_are_added_stand_after_the_others_which_keep_their_rows():
    first, later = drawn_snapshot(), drawn_snapshot(posts=5, seed=9, first_id=5_000)
    joined = PostBlocks.derive(first, MOMENT_US).with_posts(PostBlocks.derive(later, MOMENT_US))
    for rows, alone in ((np.arange(-1, 60), first), (60 + np.arange(5), later)):
        own = PostBlocks.derive(alone, MOMENT_US).of(rows if alone is first else rows - 60)
        for name, block in joined.of(rows).items():
            np.testing.assert_array_equal(block, own[name])


def test_posts_of_two_moments_are_not_joined():
    snapshot = drawn_snapshot()
    with pytest.raises(ValueError, match="derive them for that"):
        PostBlocks.derive(snapshot, MOMENT_US).with_posts(PostBlocks.derive(snapshot, MOMENT_US + 1))
