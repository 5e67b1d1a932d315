import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from feature_repo.heads import OWN_SLOTS, Role
from services.ranking.weights import (
    BOUNDS,
    EPSILON,
    PRESETS,
    WeightError,
    WeightPreset,
    contributions,
    declared,
    preset_named,
    weighted_score,
)


def _one(**probabilities: float) -> np.ndarray:
    return np.array([[probabilities.get(head, 0.0) for head in HEADS]], np.float32)


# Published tables: twitter/the-algorithm-ml projects/home/recap (5 April 2023), xai-org/x-algorithm RankingScorer (2026).
@pytest.mark.parametrize(
    ("preset", "head", "weight"),
    [
        ("home_mixer_2023", "like", 0.5),
        ("home_mixer_2023", "share", 1.0),
        ("home_mixer_2023", "reply", 13.5),
        ("home_mixer_2023", "profile_click", 12.0),
        ("home_mixer_2023", "video_view", 0.005),
        ("home_mixer_2023", "click", 11.0),
        ("home_mixer_2023", "not_interested", -74.0),
        ("x_2026", "like", 0.5),
        ("x_2026", "reply", 5.0),
        ("x_2026", "share", 2.0),
        ("x_2026", "follow", 4.0),
        ("x_2026", "click", 0.4),
        ("x_2026", "video_view", 0.05),
        ("x_2026", "profile_click", 0.0),
        ("x_2026", "not_interested", -43.2),
    ],
)
def test_presets_carry_the_published_weights(preset, head, weight):
    assert preset_named(preset).weights[head] == weight


def test_golden_score_of_the_2023_table():
    # 0.5 * 0.2 + 13.5 * 0.01 + 11 * 0.3 - 74 * 0.002 = 3.387, then + 0.001
    score = weighted_score(_one(like=0.2, reply=0.01, click=0.3, not_interested=0.002), "home_mixer_2023")
    assert score[0] == pytest.approx(3.388, abs=1e-6)


def test_golden_score_of_a_net_negative_post():
    # sum = 0.4 * 0.1 - 43.2 * 0.05 = -2.12; |negative| = 43.2; |all| = 55.15 -> (43.2 - 2.12) / 55.15 * 0.001
    score = weighted_score(_one(click=0.1, not_interested=0.05), "x_2026")
    assert score[0] == pytest.approx((43.2 - 2.12) / 55.15 * EPSILON, rel=1e-5)


def test_contributions_add_up_to_the_score_before_the_offset():
    p = _one(click=0.5, share=0.1, not_interested=0.001)
    assert contributions(p, "balanced").sum() + EPSILON == pytest.approx(weighted_score(p, "balanced")[0])


def test_every_preset_lies_within_the_bounds_and_says_where_it_comes_from():
    for preset in PRESETS.values():
        assert all(preset.weights[head] in BOUNDS[head] for head in HEADS)
        assert len(preset.source) > 20


@pytest.mark.parametrize("preset", ["balanced", "home_mixer_2023", "x_2026"])
def test_own_actions_weigh_by_their_role_in_presets_that_name_none(preset):
    weights = preset_named(preset).learned(HEADS).weights
    for role, slots in OWN_SLOTS.items():
        assert len({weights[slot] for slot in slots}) == 1
        assert all(weights[slot] < 0 if role is Role.DISLIKED else weights[slot] > 0 for slot in slots)


def test_a_log_of_own_actions_alone_is_ranked_by_them_under_a_published_preset():
    preset = preset_named("x_2026").learned(["own_1", "own_7"])
    score = weighted_score(np.concatenate([_one(own_1=0.2), _one(own_1=0.6), _one(own_1=0.6, own_7=0.3)]), preset)
    assert score[1] > score[0] > score[2]


def test_a_preset_says_whether_it_weighs_any_of_some_heads():
    assert not preset_named("clicks_only").learned(HEADS).weighs_any(["like", "own_1"])
    assert preset_named("clicks_only").weighs_any(["like", "click"])


def test_weights_of_roles_are_declared_by_the_roles_names(tmp_path):
    (tmp_path / "presets.yaml").write_text("mine: {source: made up, weights: {click: 1.0}, own: {loved: 2.0}}")
    with pytest.raises(WeightError, match="preset 'mine' weighs own actions of role 'loved'; the roles are opened, "):
        declared(tmp_path / "presets.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"click": -1.0}, r"click = -1.0 is outside \[0.0, 20.0\]"),
        ({"not_interested": 1.0}, r"not_interested = 1.0 is outside"),
        ({"click": float("nan")}, "click = nan is outside"),
        ({"applause": 1.0}, "no head 'applause'"),
    ],
)
def test_a_weight_out_of_bounds_or_of_no_head_is_refused_by_name(changes, message):
    with pytest.raises(WeightError, match=message):
        preset_named("balanced").tuned(changes)


def test_tuning_leaves_the_preset_alone():
    tuned = preset_named("balanced").tuned({"like": 5.0})
    assert tuned.weights["like"] == 5.0
    assert preset_named("balanced").weights["like"] == 2.0


def test_an_unknown_preset_is_answered_with_the_names_there_are():
    with pytest.raises(WeightError, match="balanced"):
        preset_named("viral")


def test_a_preset_must_weigh_every_head():
    with pytest.raises(WeightError, match="the heads are"):
        WeightPreset("half", "made up", {"click": 1.0})


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="in the order of HEADS"):
        weighted_score(np.zeros((3, 2)), "balanced")
