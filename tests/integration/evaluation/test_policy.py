"""`mixer evaluate --policy` on a small world: what it tells, what it samples and warns of, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from feature_repo.aggregates.ranking_state import STATE_WIDTH
from feature_repo.blocks import States
from feature_repo.datasets.adapter import MalformedFile
from feature_repo.event_log import read_table
from feature_repo.feature_rows import BLOCKS
from feature_repo.lake import Lake
from feature_repo.state_tables import StateTable
from flows.cli.app import app
from flows.evaluation import choices
from flows.evaluation.choices import choice
from flows.evaluation.decisions import read_decisions
from flows.evaluation.off_policy import UnknownPropensity
from flows.evaluation.policy import evaluate_policy
from flows.evaluation.pool import NewestStates, Pool, PoolAsOf
from infra.settings import Settings, get_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def later(settings):
    """The held-out days as events, with the propensities of the world's logger."""
    lake = Lake(settings.paths.holdout)
    return lake.scan_events(lake.event_days()).collect()


@pytest.fixture(scope="module")
def posts(settings):
    return read_table(lakes_of(settings), "posts")


@pytest.fixture
def asked(settings, bundle, tmp_path, monkeypatch):
    """Runs `mixer evaluate --policy` on a frame."""
    monkeypatch.setenv("MIXER_HOME", str(settings.home))
    get_settings.cache_clear()

    def run(frame: pl.DataFrame, *options: str):
        file = written(frame, tmp_path / "asked.parquet")
        command = ["evaluate", "--policy", "--exposures", str(file), "--bundle", str(bundle), "--draws", "20", *options]
        return CliRunner().invoke(app, command, catch_exceptions=False)

    yield run
    get_settings.cache_clear()


def lakes_of(settings: Settings) -> list[Lake]:
    return [Lake(settings.paths.lake), Lake(settings.paths.holdout)]


def written(frame: pl.DataFrame, file):
    frame.write_parquet(file)
    return file


def test_the_report_has_one_policy_a_temperature_and_counts_what_it_rests_on(asked, later):
    impressions = (later["action"] == "impression").sum()
    forgotten = pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise(pl.col("propensity"))
    told = asked(
        later.with_columns(propensity=forgotten), "--temperature", "0", "--temperature", "0.5", "--decisions", "60", "--json"
    )
    report = json.loads(told.stdout)
    assert report["impressions"] == impressions
    assert report["with_propensity"] + report["without_propensity"] == impressions and report["without_propensity"] > 0
    assert report["decisions"] == 60 and report["pool"]["posts"] == 400 >= report["pool"]["mean_open"] > 100
    assert [found["temperature"] for found in report["policies"]] == [0.0, 0.5]
    for found in report["policies"]:
        assert found["dr"]["low"] <= found["dr"]["value"] <= found["dr"]["high"]
        assert 0 <= found["clipped_share"] <= 1 and found["effective_decisions"] <= 60
    assert any("carry no propensity and are left out" in warning for warning in report["warnings"])
    assert f"{report['without_propensity']:,} of {impressions:,}" in " ".join(report["warnings"])


def test_the_table_shows_the_logging_policy_beside_the_model(asked, later):
    told = asked(later, "--decisions", "20", "--reward", "like", "--score", "balanced", "--clip", "5").stdout
    assert "20 decisions of" in " ".join(told.split()) and "mean like" in told
    for words in ("logging", "as logged", "bundle", "SNIPS", "DR minus logging", "of 20", "clipped"):
        assert words in told


def test_the_same_seed_judges_the_same_sample_and_another_another(settings, bundle, later, posts, tmp_path):
    file = written(later, tmp_path / "later.parquet")
    some = {"bundle_folder": bundle, "temperatures": [0.2], "decisions": 40, "draws": 5}
    assert evaluate_policy(settings, file, **some) == evaluate_policy(settings, file, **some)
    decisions = read_decisions(settings, lakes_of(settings), file, posts)
    one, two = decisions.sampled(40, 1), decisions.sampled(40, 2)
    assert len(one) == len(two) == 40 and set(one.exposure) != set(two.exposure)
    assert (np.diff(one.at_us) >= 0).all() and decisions.sampled(10**9, 1) is decisions


def test_uniform_choice_among_a_uniform_loggers_pool_is_worth_what_was_logged(settings, bundle, later, posts, tmp_path):
    """At an endless temperature the policy is the logger: every weight is 1, whatever the model says."""
    shown = later.filter(pl.col("action") == "impression")["post_id"]
    pool = posts.select("post_id", since=pl.lit("2020-01-01T00:00:00Z"))
    frame = later.with_columns(propensity=pl.lit(1 / posts.height))
    found = evaluate_policy(
        settings,
        written(frame, tmp_path / "uniform.parquet"),
        bundle_folder=bundle,
        temperatures=[1e9],
        pool_file=written(pool, tmp_path / "pool.parquet"),
        decisions=80,
        draws=20,
    )
    (policy,) = found["policies"]
    assert set(shown) <= set(pool["post_id"]) and found["outside_pool"] == 0
    assert policy["mean_weight"] == pytest.approx(1.0) and policy["effective_decisions"] == pytest.approx(80)
    for name in ("ips", "snips"):
        assert policy[name]["value"] == pytest.approx(found["logging"]["value"])
    assert policy["warnings"] == [] or all("intervals are too narrow" in warning for warning in policy["warnings"])


def test_what_our_own_mixer_serves_is_told_to_say_nothing(asked, later):
    report = json.loads(asked(later.with_columns(propensity=pl.lit(1.0)), "--decisions", "30", "--json").stdout)
    for found in report["policies"]:
        assert any("every propensity is 1" in warning for warning in found["warnings"])


def test_a_post_outside_the_pool_has_no_weight_and_is_told(asked, later, posts, tmp_path):
    half = written(posts.select("post_id").filter(pl.col("post_id") % 2 == 0), tmp_path / "half.parquet")
    report = json.loads(asked(later, "--decisions", "50", "--pool", str(half), "--json").stdout)
    assert report["pool"]["posts"] == 200 and 0 < report["outside_pool"] < 50
    assert any("did not hold the logged post" in warning for warning in report["warnings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--reward", "dance"), "reward is 'dance'; it is one of the heads click"),
        (("--score", "loudest"), "score is 'loudest'; it is a head .* or a weight preset .*balanced"),
        (("--temperature", "-0.5"), "temperature is -0.5"),
        (("--temperature", "nan"), "temperature is nan"),
        (("--clip", "0"), "clip is 0"),
        (("--decisions", "0"), "decisions is 0"),
        (("--state", "frozen"), "--state frozen does not go with --policy"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(asked, later, options, message):
    with pytest.raises(ValueError, match=message):
        asked(later.head(50), *options)


def test_options_of_the_policy_are_refused_without_it(later, tmp_path):
    file = written(later, tmp_path / "later.parquet")
    for command, message in (
        (["evaluate", "--exposures", str(file), "--temperature", "1"], "temperatures: only --policy"),
        (["evaluate", "--policy"], "--policy needs logged decisions"),
    ):
        with pytest.raises(ValueError, match=message):
            CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.mark.parametrize(
    ("broken", "kind", "message"),
    [
        (lambda frame: frame.with_columns(propensity=None), UnknownPropensity, r"none of its [\d,]+ impressions .* Needed are"),
        (lambda frame: frame.drop("propensity"), UnknownPropensity, "propensity"),
        (lambda frame: frame.head(0), MalformedFile, "no impression"),
        (lambda frame: frame.with_columns(propensity=pl.lit(1.5)), MalformedFile, r"propensity is outside \(0, 1\]"),
        (lambda frame: frame.with_columns(product=pl.lit("history_before")), UnknownPropensity, "undated"),
    ],
)
def test_a_file_that_says_nothing_is_refused_with_what_it_lacks(asked, later, broken, kind, message):
    with pytest.raises(kind, match=message):
        asked(broken(later))


def test_kuairands_random_exposures_are_judged_and_its_others_are_named(asked, posts, later):
    shown = later.filter(pl.col("action") == "impression").head(40)
    clips = shown.select("user_id", video_id="post_id", time_ms=pl.col("occurred_at").dt.epoch("ms")).with_columns(
        is_click=pl.int_range(pl.len()) % 2, long_view=0, tab=1, is_rand=(pl.int_range(pl.len()) % 4 > 0).cast(pl.Int8)
    )
    report = json.loads(asked(clips, "--json").stdout)
    assert (report["impressions"], report["without_propensity"], report["decisions"]) == (40, 10, 30)
    with pytest.raises(UnknownPropensity, match="the slice holds recommender-chosen exposures alone"):
        asked(clips.drop("is_rand"))


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (pl.DataFrame({"post_id": [1, 1]}), "post 1 is listed twice"),
        (pl.DataFrame({"post_id": [1, 7_000_000]}), "post 7000000 is not in the posts table"),
        (pl.DataFrame({"post_id": []}, schema={"post_id": pl.Int64}), "the pool has no posts"),
        (pl.DataFrame({"post": [1]}), "column 'post_id': the column is missing"),
        (pl.DataFrame({"post_id": [1], "since": ["soon"]}), "column 'since', row 1"),
    ],
)
def test_a_broken_pool_is_refused_with_its_place(posts, tmp_path, pool, message):
    with pytest.raises(MalformedFile, match=message):
        Pool.read(written(pool, tmp_path / "pool.parquet"), posts)


def test_a_pool_that_is_never_open_is_refused(asked, later, posts, tmp_path):
    gone = posts.select("post_id", since=pl.lit("2020-01-01T00:00:00Z"), until=pl.lit("2020-01-02T00:00:00Z"))
    with pytest.raises(ValueError, match="no post of the pool was open"):
        asked(later, "--decisions", "5", "--pool", str(written(gone, tmp_path / "gone.parquet")))


def test_posts_in_parts_are_scored_as_posts_at_once(settings, bundle, later, posts, tmp_path, monkeypatch):
    file = written(later, tmp_path / "later.parquet")
    some = {"bundle_folder": bundle, "temperatures": [0.2], "decisions": 20, "draws": 5}
    whole = evaluate_policy(settings, file, **some)
    monkeypatch.setattr("flows.evaluation.pool.POSTS_AT_ONCE", 37)
    monkeypatch.setattr(choices, "DECISIONS_AT_ONCE", 7)
    parts = evaluate_policy(settings, file, **some)
    assert parts["policies"][0]["dr"]["value"] == pytest.approx(whole["policies"][0]["dr"]["value"], abs=1e-6)


def test_the_pool_holds_what_training_rows_hold_of_the_same_moment(settings, later, posts, tmp_path):
    decisions = read_decisions(settings, lakes_of(settings), written(later, tmp_path / "later.parquet"), posts).sampled(60, 5)
    rows = decisions.known.rows(decisions.exposure)
    pool = Pool(posts, np.zeros(len(posts), np.int64), np.full(len(posts), np.iinfo(np.int64).max))
    as_of = PoolAsOf(pool, decisions.known.tables)
    for row in range(len(rows)):
        asked_us = int(decisions.known.log.asked_us[decisions.exposure[row]])
        (part,) = as_of.parts(asked_us)
        found = choices._candidates(rows, row, asked_us, part, decisions.products)
        at = int(np.searchsorted(found.post_id, rows.post_id[row]))
        for name in BLOCKS:
            np.testing.assert_allclose(found.blocks[name][at], rows.blocks[name][row], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_file_that_is_part_of_the_lake_is_not_counted_twice(settings, later, posts, tmp_path):
    """Whether it has the lake's event ids, those twice, or others."""
    impressions = (later["action"] == "impression").sum()
    lakes = lakes_of(settings)
    logged = sum((lake.scan_events(lake.event_days()).collect()["action"] == "impression").sum() for lake in lakes)
    renamed = later.with_columns(event_id="other-" + pl.col("event_id"))
    for number, frame in enumerate((later, pl.concat([later, later.head(20)]), renamed)):
        decisions = read_decisions(settings, lakes, written(frame, tmp_path / f"{number}.parquet"), posts)
        assert len(decisions.known.log) == logged and len(decisions) == impressions


def test_chances_are_a_softmax_and_greed_shares_a_tie():
    scores = np.array([0.2, 0.7, 0.7, 0.1])
    np.testing.assert_array_equal(choice(scores, 0.0), [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(choice(scores, 0.1), np.exp(scores / 0.1) / np.exp(scores / 0.1).sum())
    np.testing.assert_allclose(choice(scores, 1e-6), [0, 0.5, 0.5, 0], atol=1e-12)


def test_newest_states_are_those_of_the_as_of_search_and_time_goes_forward():
    random = np.random.default_rng(2)
    ids, times = np.sort(random.integers(0, 9, 200)), random.integers(0, 50, 200)
    order = np.lexsort((times, ids))
    table = StateTable(ids[order], States(random.random((200, STATE_WIDTH)).astype(np.float32), times[order].astype(np.int64)))
    asked = np.array([3, 3, 8, 100, 0])
    newest = NewestStates(table, asked)
    for now_us in (0, 1, 7, 7, 30, 51):
        newest.advance(now_us)
        expected = table.as_of(asked, np.full(5, now_us))
        np.testing.assert_array_equal(newest.take(np.arange(5)).state, expected.state)
    with pytest.raises(ValueError, match="lies before 51"):
        newest.advance(50)
