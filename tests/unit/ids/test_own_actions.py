"""People read an own action's name, never the slot that stands for it."""

from __future__ import annotations

import pytest

from feature_repo.ids.own_actions import with_own_names

OWN = {"purchase": "own_5", "own_1": "own_6", "add to cart": "own_1"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("own_5", "purchase"),
        ("click", "click"),
        ("own_7", "own_7"),
        ("post.own_5_rate.7d and prediction_own_1", "post.purchase_rate.7d and prediction_add to cart"),
        ("own_6, own_1", "own_1, add to cart"),
        ("own_51, known_5", "own_51, known_5"),
    ],
)
def test_slots_are_called_by_the_actions_that_take_them(text: str, told: str) -> None:
    assert with_own_names(text, OWN) == told
    assert with_own_names(text, {}) == text
