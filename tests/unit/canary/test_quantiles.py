"""Answer times in bins: the quantile that comes out is the one that went in, and its variance is the users'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitoring.canary.metric_sources import UNKNOWN, estimate_latency, latency_answers
from monitoring.canary.quantiles import LEAST_ANSWERS, log_quantile
from monitoring.canary.rollout_evidence import RequestTimes
from monitoring.canary.time_bins import BINS, NO_TIME, RATIO, bin_of, edges_ms


def test_a_time_lies_between_its_bins_edges():
    ms = np.random.default_rng(1).lognormal(4, 1.0, 1_000)
    bins = bin_of(ms)
    assert (edges_ms[bins] <= ms).all() and (ms < edges_ms[bins + 1]).all()
    assert edges_ms[-1] >= 60_000
    assert bin_of(np.array([0.01, 1e9, 0.0, -3.0, np.nan, np.inf])).tolist() == [0, BINS - 1, *(NO_TIME,) * 4]


def test_a_quantile_is_read_within_a_bin():
    ms = np.random.default_rng(2).lognormal(4, 0.5, 20_000)
    counts = np.bincount(bin_of(ms), minlength=BINS)
    for p in (0.05, 0.5, 0.95, 0.99):
        assert np.exp(log_quantile(counts, p)) == pytest.approx(np.quantile(ms, p), rel=RATIO - 1)
    assert np.isnan(log_quantile(np.stack([counts, 0 * counts]), np.array([1.0, 0.5]))).all()


def times(rng: np.random.Generator, users: int, user_sigma: float) -> RequestTimes:
    visits = rng.geometric(0.1, users)
    who = np.repeat(np.arange(users), visits)
    ms = np.exp(4 + rng.normal(0, user_sigma, users)[who] + rng.normal(0, 0.4, len(who)))
    treated = rng.random(users) < 0.5
    return RequestTimes(np.zeros(len(who), int), treated[who], who, bin_of(ms), np.ones(len(who), int))


@pytest.mark.parametrize("user_sigma", [0.0, 0.4])
def test_the_variance_is_what_many_samples_show_whether_users_differ_or_not(user_sigma):
    rng = np.random.default_rng(4)
    drawn = [estimate_latency(times(rng, 800, user_sigma), 1) for _ in range(150)]
    seen = np.var([float(one.difference) for one in drawn])
    told = np.mean([float(one.variance) for one in drawn])
    assert 0.8 < told / seen < 1.6  # the estimate of a variance from 150 draws is off by a quarter; too wide is the safe side


def test_few_answers_say_nothing_of_a_p95_and_none_at_all_are_missing():
    answers = times(np.random.default_rng(5), 6, 0.2)
    few = estimate_latency(answers, 1)
    assert (float(few.difference), float(few.variance)) == (0.0, UNKNOWN)
    live_alone = replace(answers, treated=np.zeros(len(answers.bin), bool))
    assert not estimate_latency(live_alone, 1).has_data


def test_fewer_answers_than_are_needed_give_no_p95_however_alike_users_are():
    rng = np.random.default_rng(6)

    def estimated(answers: int) -> tuple[bool, tuple[int, int]]:
        users, treated = np.arange(2 * answers), np.arange(2 * answers) < answers
        drawn = RequestTimes(0 * users, treated, users, bin_of(rng.lognormal(4, 0.4, len(users))), 0 * users + 1)
        return bool(np.isfinite(estimate_latency(drawn, 1).control)), latency_answers(drawn, 1)

    assert estimated(LEAST_ANSWERS - 1) == (False, (76, 76))
    assert estimated(2 * LEAST_ANSWERS) == (True, (154, 154))
