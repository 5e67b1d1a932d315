"""What makes a post popular: openings, completions and, twofold, what approves of it."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.aggregates.ranking_state import STATE_INDEX, STATE_WIDTH
from feature_repo.snapshot import popularity


def of(**counts: int) -> float:
    """Popularity of a post that was shown 100 times, with so many of each action."""
    state = np.zeros((1, STATE_WIDTH), np.float32)
    for action, count in {"impression": 100, **counts}.items():
        state[0, STATE_INDEX[f"{action}.all"]] = count
    return float(popularity(state)[0])


@pytest.mark.parametrize("action", ["like", "follow", "repost", "bookmark", "own_5"])
def test_an_approval_counts_twice_as_much_as_an_opening(action):
    assert of(**{action: 60}) - of() == pytest.approx(2 * (of(click=60) - of()), rel=1e-5)


@pytest.mark.parametrize("action", ["profile_click", "reply", "share"])
def test_a_visit_to_the_profile_an_answer_and_a_passing_on_are_no_approval(action):
    assert of(**{action: 60}) == of()
