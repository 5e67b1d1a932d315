"""Which heads count is read off the exposures, unless the settings name some; what they name must be there."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from feature_repo.chosen_heads import HeadError, check_trained, deciding_heads, named_heads
from feature_repo.heads import HEADS, judged_heads, trained_heads
from feature_repo.ids import IdTable
from infra.settings import Settings


def labels(**positives: int) -> np.ndarray:
    """100 exposures with so many of each head."""
    made = np.zeros((100, len(HEADS)), np.uint8)
    for head, count in positives.items():
        made[:count, HEADS.index(head)] = 1
    return made


def test_the_least_number_of_exposures_of_either_outcome_is_adjustable():
    seen = labels(click=50, like=12, reply=95)
    assert trained_heads(seen) == ("click",)
    assert trained_heads(seen, 10) == ("click", "like")
    assert trained_heads(seen, 5) == ("click", "like", "reply")
    assert trained_heads(seen, 51) == ()


def test_chosen_heads_judge_instead_of_the_commonest_where_there_is_enough_of_them():
    seen = labels(click=60, video_view=50, like=40, reply=2)
    assert judged_heads(seen, 2) == ("click", "video_view")
    assert judged_heads(seen, 2, chosen=("reply", "like")) == ("like",)
    assert judged_heads(seen, 1, chosen=("like", "video_view")) == ("video_view", "like")


@pytest.mark.parametrize(("text", "names"), [("like, purchase", ("like", "purchase")), ("", ()), ("like,", ("like",))])
def test_settings_take_names_with_commas_and_hand_them_to_their_processes(monkeypatch, tmp_path, text, names):
    monkeypatch.setenv("MIXER_DECIDING_HEADS", text)
    settings = Settings(home=tmp_path)
    assert settings.deciding_heads == names
    passed = settings.child_environment().get("MIXER_DECIDING_HEADS")
    assert passed == (",".join(names) if names else None)


def test_own_actions_go_by_their_own_names(tmp_path):
    settings = Settings(home=tmp_path, deciding_heads=("purchase", "like"))
    settings.paths.platform_database.parent.mkdir(parents=True, exist_ok=True)
    IdTable(settings.platform_database_url).codes("own_action:liked", pl.Series(["purchase"]))
    assert deciding_heads(settings) == ("own_5", "like")
    assert deciding_heads(Settings(home=tmp_path / "other")) == ()


def test_a_name_that_is_no_head_is_refused_with_those_there_are():
    with pytest.raises(HeadError, match=r"MIXER_X names 'likes', which is no action .* there are click, .*report, buy$"):
        named_heads(["like", "likes"], {"buy": "own_5"}, "MIXER_X")


def test_a_head_that_is_to_decide_must_be_learned():
    check_trained(("like",), ("click", "like"), {"like": 40}, 30)
    with pytest.raises(
        HeadError, match=r"MIXER_DECIDING_HEADS names reply, which followed 12 .* 30 without it; trained are click"
    ):
        check_trained(("reply",), ("click",), {"reply": 12}, 30)
