"""The judge's bench on few rollouts: every figure is there, and the peers' rules are theirs."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.bench.canary_peers import kayenta_label, kayenta_score
from tests.bench.canary_streams import SCENARIOS, People
from tests.bench.judge import OURS, PEERS, bench_judge, one_rollout, wilson


@pytest.mark.slow
def test_the_bench_gives_every_figure_with_its_error_beside_the_peers():
    report = bench_judge(2, 3, users=(1_000, 20_000), processes=2, drawn=1_000)
    for key in ("false_rollback", "missed", "promoted_aa", "median_users", "detectable", "scenarios"):
        assert list(report[key]) == ["1000", "20000"], key
    assert {"rate", "low", "high"} == report["false_rollback"]["1000"].keys()
    assert report["missed"]["1000"].keys() == {one.name for one in SCENARIOS if one.bad}
    assert sum(report["scenarios"]["1000"]["a/a"][how] for how in ("asked", "rolled_back", "given_up")) == 2
    assert report["peers"].keys() == PEERS.keys()
    json.dumps(report, allow_nan=False)


def test_a_rollout_is_the_same_whenever_it_is_drawn_and_a_great_loss_is_never_put_to_people():
    lost = SCENARIOS[5]
    once, again = (one_rollout(lost, 5, 20_000, tuple(PEERS)) for _ in range(2))
    assert repr(once) == repr(again)
    assert once[OURS].how != "asked"


def test_copies_fall_into_the_split_as_users_do():
    people = People(2_000, 50.0, (0.01, 0.05, 0.25, 0.5), 3)
    shares = [arms[1].sum() / arms.sum() for arms in map(people.arms, range(4))]
    assert shares == pytest.approx([0.01, 0.05, 0.25, 0.5], rel=0.1)


def test_kayenta_passes_what_is_alike_and_fails_a_clear_rise():
    rng = np.random.default_rng(1)
    alike = rng.normal(5, 1, (60, 2))
    assert kayenta_label(alike, rise_is_harm=True) == "pass"
    assert kayenta_label(alike + [0, 3], rise_is_harm=True) == "fail"
    assert kayenta_label(alike + [0, 3], rise_is_harm=False) == "pass"
    assert kayenta_label(alike * [1, np.nan], rise_is_harm=True) == "nodata"
    assert kayenta_score({"failed": alike + [0, 3], "p95": alike}) == 50.0
    assert kayenta_score({"failed": alike * [1, np.nan], "p95": alike}) == 0.0


def test_a_rate_has_wilsons_interval():
    # 0 of 100: high = z^2 / (n + z^2) = 3.8416 / 103.8416.
    assert wilson(0, 100) == {"rate": 0.0, "low": 0.0, "high": 0.037}
    assert wilson(95, 100)["low"] == pytest.approx(0.8882, abs=1e-3)


def test_the_benches_have_a_door_of_their_own():
    told = subprocess.run([sys.executable, "-m", "tests.bench", "--help"], capture_output=True, text=True, check=True).stdout
    assert "judge" in told
