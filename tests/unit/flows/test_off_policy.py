"""Off-policy estimates against the Open Bandit Pipeline's, on its own logs and on drawn ones, and against the truth."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.evaluation.off_policy import Logged, UnknownPropensity, dr, ips, policy_value, snips

ACTIONS = 12


def _oracle(reward, action, propensity, distribution, predicted):
    """IPS, SNIPS and DR of obp: distribution and predicted are (n, actions)."""
    from obp.ope import DoublyRobust, InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting

    given = {
        "reward": reward,
        "action": action,
        "pscore": propensity,
        "action_dist": distribution[:, :, None],
        "position": np.zeros(len(reward), int),
    }
    plain = (InverseProbabilityWeighting(), SelfNormalizedInverseProbabilityWeighting())
    robust = DoublyRobust().estimate_policy_value(**given, estimated_rewards_by_reg_model=predicted[:, :, None])
    return (*(one.estimate_policy_value(**given) for one in plain), robust)


def _ours(reward, action, propensity, distribution, predicted):
    rows = np.arange(len(reward))
    weight = distribution[rows, action] / propensity
    expected = (distribution * predicted).sum(axis=1)
    return ips(reward, weight), snips(reward, weight), dr(reward, weight, predicted[rows, action], expected)


def _drawn(n: int, seed: int):
    """A log of a policy that depends on a context, with the judged policy's probabilities and a poor reward model."""
    random = np.random.default_rng(seed)
    context = random.normal(size=(n, 4))
    logging, judged, truth = (context @ random.normal(size=(4, ACTIONS)) for _ in range(3))
    logging, judged = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) for logits in (logging, judged))
    chance = 1 / (1 + np.exp(-truth))
    action = (random.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=ACTIONS - 1)
    reward = (random.random(n) < chance[np.arange(n), action]).astype(float)
    return reward, action, logging[np.arange(n), action], judged, 0.5 * chance + 0.2, chance


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_estimates_equal_obps_on_drawn_logs(seed):
    log = _drawn(2_000, seed)[:5]
    np.testing.assert_allclose(_ours(*log), _oracle(*log), atol=1e-12)


@pytest.mark.parametrize("policy", ["random", "bts"])
def test_estimates_equal_obps_on_the_logged_bandit_data_that_it_ships(policy):
    import obp

    log = pl.read_csv(Path(obp.__file__).parent / "dataset" / "obd" / policy / "all" / "all.csv")
    reward, propensity = log["click"].to_numpy().astype(float), log["propensity_score"].to_numpy()
    action = log["item_id"].to_numpy()
    random = np.random.default_rng(4)
    judged = random.dirichlet(np.ones(action.max() + 1), len(log))
    predicted = random.random(judged.shape) * 0.02
    found = _ours(reward, action, propensity, judged, predicted)
    assert len(log) >= 10_000 and reward.sum() > 10
    np.testing.assert_allclose(found, _oracle(reward, action, propensity, judged, predicted), atol=1e-9)


def _logged(n: int = 20_000, seed: int = 5) -> tuple[Logged, float]:
    reward, action, propensity, judged, predicted, chance = _drawn(n, seed)
    rows = np.arange(n)
    expected = (judged * predicted).sum(axis=1)
    log = Logged(reward, propensity, judged[rows, action], predicted[rows, action], expected, rows // 4)
    return log, float((judged * chance).sum(axis=1).mean())


def test_intervals_hold_the_truth_and_a_reward_model_narrows_them():
    log, truth = _logged()
    found = policy_value(log, clip=1e9, draws=200)
    for one in (found.snips, found.dr):
        assert one.low - 0.02 < truth < one.high + 0.02
        assert one.low < one.value < one.high
    assert found.dr.high - found.dr.low < found.ips.high - found.ips.low
    assert 0 < found.effective_decisions < found.decisions == 20_000


def test_the_logging_policy_itself_is_worth_what_was_logged():
    log, _ = _logged(500)
    found = policy_value(replace(log, policy=log.propensity), draws=20)
    assert found.ips == found.snips == found.logging
    assert found.mean_weight == 1.0 and found.effective_decisions == pytest.approx(500)


def test_a_gain_over_the_logging_policy_is_paired():
    log, _ = _logged()
    found = policy_value(log, draws=100)
    assert found.gain.value == found.dr.value - found.logging.value
    both = found.dr.high - found.dr.low + found.logging.high - found.logging.low
    assert 0 < found.gain.high - found.gain.low < both


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        (lambda log: {"policy": log.propensity / 2}, r"mean weight is 0\.5.*did not or hardly tried"),
        (lambda log: {"propensity": log.propensity / 2}, r"mean weight is [12]\.\d+ \[.*not 1: the propensities are not"),
        (lambda log: {"propensity": np.where(log.user_id == 2, 1.0, log.propensity)}, "4 of 20,000 propensities are 1"),
        (lambda log: {"user_id": log.user_id % 3}, "3 users are too few"),
    ],
)
def test_a_log_that_does_not_fit_is_told(changed, warning):
    log, _ = _logged()
    assert policy_value(replace(log, policy=log.propensity), draws=50).warnings == ()
    found = policy_value(replace(log, **{"policy": log.propensity, **changed(log)}), draws=50)
    assert any(re.search(warning, told) for told in found.warnings), found.warnings


def test_few_effective_decisions_are_told_to_narrow_the_intervals():
    log, _ = _logged(400)
    kept = replace(log, policy=np.where(np.arange(400) < 50, log.propensity, 0.0))
    assert any("below 100 the intervals are too narrow" in told for told in policy_value(kept, draws=20).warnings)


def test_clipping_is_told_and_lowers_a_positive_value():
    log, _ = _logged(5_000)
    free, cut = policy_value(log, draws=5), policy_value(log, clip=1.0, draws=5)
    assert free.clipped_share == 0 < cut.clipped_share < 1
    assert cut.ips.value < free.ips.value


def test_a_log_that_can_say_nothing_warns_or_is_refused():
    log, _ = _logged(50)
    sure = policy_value(replace(log, propensity=np.ones(50)), draws=5)
    assert any("never chose" in warning for warning in sure.warnings)
    far = policy_value(replace(log, policy=np.where(np.arange(50) == 3, 1.0, 0.0), propensity=np.full(50, 1e-3)), draws=5)
    assert far.effective_decisions == pytest.approx(1.0)
    with pytest.raises(UnknownPropensity, match="1 of 50 decisions carry no propensity"):
        replace(log, propensity=np.where(np.arange(50) == 7, np.nan, 0.5))
    for field, values, message in (
        ("propensity", np.where(np.arange(50) == 7, 0.0, 0.5), "propensity of decision 7 is 0.0"),
        ("policy", np.where(np.arange(50) == 2, 1.5, 0.5), "policy of decision 2 is 1.5"),
        ("reward", np.where(np.arange(50) == 4, np.inf, 0.5), "reward of decision 4 is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(log, **{field: values})
    with pytest.raises(ValueError, match="at least one decision"):
        replace(log, reward=np.empty(0))
    with pytest.raises(ValueError, match="clip is 0"):
        policy_value(log, clip=0.0)
