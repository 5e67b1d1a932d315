"""Off-policy evaluation of a model: what it would have earned, had it chosen where a randomised logger did.

The judged policy, at each logged decision: the model scores every post of the pool for that user at that moment and draws one
by softmax(score / temperature); temperature 0 takes the best. It is the ranker on the whole pool, without retrieval, filters
and diversity. Each decision stands for itself: its user's history is the one that the logging policy made.

Nothing is simplified in time: the user, the history, and the aggregates of every post, author and topic are as of each
decision's own microsecond, by the very code that builds a request's rows. Only the tables of posts and users are as they are
now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.event_log import read_table
from feature_repo.heads import HEADS, judged_heads
from flows.evaluation.choices import Choices, Score, choose
from flows.evaluation.decisions import Decisions, read_decisions
from flows.evaluation.judged import already_seen, judged_bundle, moment, trained_until
from flows.evaluation.off_policy import Estimate, Logged, PolicyValue, policy_value
from flows.evaluation.pool import Pool
from flows.steps.lakes import open_lakes
from flows.steps.progress import announce
from infra.settings import Settings
from services.ranking.weights import PRESETS, preset_named, weighted_score

TEMPERATURES = (0.05, 0.2)  # in units of the score: a probability, unless a preset is given


def evaluate_policy(
    settings: Settings,
    file: Path,
    *,
    model: str = "champion",
    bundle_folder: Path | None = None,
    reward: str | None = None,
    score: str | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    clip: float = math.inf,
    pool_file: Path | None = None,
    decisions: int | None = None,
    draws: int = 200,
) -> dict[str, Any]:
    """Value of the model's policies, one a temperature, on the decisions of `file` that carry a propensity.

    `reward` is a head: 1 where the user did it, else 0; the commonest one by default. `score` is a head or a weight preset; the
    reward's head by default.
    The pool (see `Pool`) is every post of the posts table from its creation on, or what `pool_file` lists. It should be what
    the logger could choose from. `decisions` draws a sample of so many by the seed of the settings. The reward model of DR is
    the model's own calibrated prediction: of the logged post, and its mean over the pool under the policy.

    Keys: exposures, reward, score, clip, model (name, version, trained_until), those of `_told`, pool (posts, file, mean_open),
    logging (the logged mean reward: value, low, high), policies, warnings. Each of policies: temperature; ips, snips, dr and
    gain, which is dr minus logging, paired (value, low, high: 95 % over users resampled `draws` times; null where not
    defined); effective_decisions, mean_weight (1 but for noise), clipped_share, warnings.

    Raises UnknownPropensity where no impression carries one; MalformedFile, BundleError, NothingIngested; ValueError for a
    reward, score, temperature, clip or model that there is not.
    """
    _check(temperatures, clip, decisions, reward, score)
    lakes = list(open_lakes(settings))
    bundle, name = judged_bundle(settings, model, bundle_folder)
    posts = read_table(lakes, "posts")
    pool = Pool.of_all(posts) if pool_file is None else Pool.read(pool_file, posts)
    announce("point-in-time state")
    found = read_decisions(settings, lakes, file, posts)
    asked = found if decisions is None else found.sampled(decisions, settings.seed)
    reward = reward or _commonest(found)
    column, by = _column(reward), _score(score or reward, bundle.trained_heads)
    choices = choose(asked, pool, bundle.predict, by, column, temperatures)
    values = values_of(asked, choices, column, clip=clip, draws=draws, seed=settings.seed)
    learned_until = trained_until(settings, bundle, lakes[0])
    return {
        "exposures": str(file),
        "reward": reward,
        "score": score or reward,
        "clip": None if math.isinf(clip) else clip,
        "model": {"name": name, "version": bundle.version, "trained_until": moment(learned_until)},
        **_told(found, asked, choices),
        "pool": {
            "posts": len(pool),
            "file": None if pool_file is None else str(pool_file),
            "mean_open": float(choices.open_posts[choices.judged].mean()),
        },
        "logging": _estimate(values[0].logging),
        "policies": [_policy(*one) for one in zip(temperatures, values, strict=True)],
        "warnings": _warnings(found, choices, learned_until, asked.at_us),
    }


def values_of(
    decisions: Decisions, choices: Choices, column: int, *, clip: float = math.inf, draws: int = 200, seed: int = 7
) -> list[PolicyValue]:
    """The value of each temperature's policy over the judged decisions, in the order of `choices.policy`."""
    judged = choices.judged
    exposure = decisions.exposure[judged]
    reward = decisions.known.log.labels(exposure)[:, column].astype(np.float64)
    found = []
    for number, (policy, expected) in enumerate(zip(choices.policy, choices.expected, strict=True)):
        announce(f"intervals: policy {number + 1} of {len(choices.policy)}")
        log = Logged(
            reward=reward,
            propensity=decisions.propensity[judged],
            policy=policy[judged],
            predicted=choices.predicted[judged],
            expected=expected[judged],
            user_id=decisions.known.log.user_id[exposure],
        )
        found.append(policy_value(log, clip=clip, draws=draws, seed=seed))
    return found


# ---- what was asked --------------------------------------------------------------------------------------------------
def _commonest(decisions: Decisions) -> str:
    """The action that was taken most often on the decisions' posts. ValueError where none was both taken and left out."""
    heads = judged_heads(decisions.known.log.labels(decisions.exposure), most=1, least=1)
    if not heads:
        raise ValueError(f"no action was both taken and left out on the {len(decisions):,} logged decisions: nothing to earn")
    return heads[0]


def _column(reward: str) -> int:
    if reward not in HEADS:
        raise ValueError(f"reward is {reward!r}; it is one of the heads {', '.join(HEADS)}")
    return HEADS.index(reward)


def _score(name: str, learned: Sequence[str] = ()) -> Score:
    if name in PRESETS:
        preset = preset_named(name).learned(learned)  # as it is served
        return lambda probabilities: weighted_score(probabilities, preset)
    if name in HEADS:
        column = HEADS.index(name)
        return lambda probabilities: probabilities[:, column].astype(np.float64)
    raise ValueError(f"score is {name!r}; it is a head ({', '.join(HEADS)}) or a weight preset ({', '.join(PRESETS)})")


def _check(temperatures: Sequence[float], clip: float, decisions: int | None, reward: str | None, score: str | None) -> None:
    if not temperatures:
        raise ValueError("no temperature was given; name at least one, 0 is greedy")
    for temperature in temperatures:
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature is {temperature}; it is 0 (greedy) or a finite number above it")
    if not clip > 0:
        raise ValueError(f"clip is {clip}; weights are cut to a number above 0")
    if decisions is not None and decisions < 1:
        raise ValueError(f"decisions is {decisions}; at least one must be sampled")
    if reward is not None:
        _column(reward)
    if score is not None:
        _score(score)


# ---- what is told ----------------------------------------------------------------------------------------------------
def _told(found: Decisions, asked: Decisions, choices: Choices) -> dict[str, Any]:
    """impressions (in the file), without_propensity and with_propensity (of them), decisions (judged), users, first, last,
    outside_pool (decisions whose logged post the pool did not hold then: the policy would not have chosen it), and
    without_pool (decisions at which no post was open: left out).
    """
    judged = choices.judged
    at_us = asked.at_us[judged]
    return {
        "impressions": found.impressions,
        "without_propensity": found.unknown,
        "with_propensity": len(found),
        "decisions": len(at_us),
        "users": len(np.unique(asked.known.log.user_id[asked.exposure[judged]])),
        "first": moment(int(at_us[0])),
        "last": moment(int(at_us[-1])),
        "outside_pool": int((judged & ~choices.inside).sum()),
        "without_pool": int((~judged).sum()),
    }


def _policy(temperature: float, value: PolicyValue) -> dict[str, Any]:
    return {
        "temperature": temperature,
        **{name: _estimate(getattr(value, name)) for name in ("ips", "snips", "dr", "gain")},
        "effective_decisions": value.effective_decisions,
        "mean_weight": value.mean_weight,
        "clipped_share": value.clipped_share,
        "warnings": list(value.warnings),
    }


def _estimate(found: Estimate) -> dict[str, float | None]:
    return {name: None if math.isnan(getattr(found, name)) else getattr(found, name) for name in ("value", "low", "high")}


def _warnings(found: Decisions, choices: Choices, learned_until: int, at_us: np.ndarray) -> list[str]:
    warnings = []
    if found.unknown:
        warnings.append(f"{found.unknown:,} of {found.impressions:,} impressions carry no propensity and are left out")
    judged = choices.judged
    warnings += already_seen(learned_until, at_us[judged], "decisions")
    if not judged.all():
        warnings.append(f"{(~judged).sum():,} decisions are left out: no post of the pool was open then")
    outside = judged & ~choices.inside
    if outside.any():
        warnings.append(
            f"at {outside.sum():,} of {judged.sum():,} decisions the pool did not hold the logged post, so they have weight 0: "
            "say with --pool what the logger could choose from"
        )
    return warnings
