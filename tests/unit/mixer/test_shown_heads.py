"""Which predictions people see: those that the release learned, or those of them that the owner chose."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.chosen_heads import HeadError
from feature_repo.heads import HEADS
from services.mixer.shown_heads import ShownHeads

TRAINED, OWN = ("click", "like", "own_5"), {"purchase": "own_5"}


def test_all_that_was_learned_is_shown_unless_some_are_chosen():
    assert ShownHeads.of(TRAINED, OWN).names == ("click", "like", "purchase")
    shown = ShownHeads.of(TRAINED, OWN, ("purchase", "click"))
    assert shown.names == ("click", "purchase")
    predictions = np.arange(len(HEADS), dtype=np.float64)[None] / 100
    assert shown.by_name(predictions) == [{"click": HEADS.index("click") / 100, "purchase": HEADS.index("own_5") / 100}]


def test_a_chosen_head_that_the_release_did_not_learn_is_told_and_left_out(caplog):
    assert ShownHeads.of(TRAINED, OWN, ("reply", "like")).names == ("like",)
    assert ShownHeads.of(TRAINED, OWN, ("reply",)).names == ShownHeads.of(TRAINED, OWN).names
    assert (
        "MIXER_SHOWN_HEADS names reply, which this release was not trained for; there are click, like, purchase" in caplog.text
    )


def test_a_name_that_is_no_head_is_refused():
    with pytest.raises(HeadError, match="MIXER_SHOWN_HEADS names 'likes'"):
        ShownHeads.of(TRAINED, OWN, ("likes",))


def test_two_heads_of_one_name_are_refused_since_an_answer_by_name_would_lose_one():
    with pytest.raises(HeadError, match="two predicted actions are called 'click', .*: rename that in the mapping"):
        ShownHeads.of(("click", "own_1"), {"click": "own_1"})
