"""`mixer evaluate --exposures` on a small world: files it has never seen, and nothing of the future in any row."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.exposure_file import read_exposure_file
from feature_repo.event_log import read_table
from feature_repo.feature_rows import BLOCKS
from feature_repo.lake import Lake
from flows.cli.app import app
from flows.evaluation import exposures
from flows.steps.days import microseconds
from infra.settings import get_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def later(settings):
    """The held-out days as a file of events, with impressions of a user and a post that nobody has met, one of them twice."""
    events = events_of(Lake(settings.paths.holdout))
    shown = events.filter(pl.col("action") == "impression").head(3)
    met = shown.with_columns(
        user_id=pl.lit(9_999_999, pl.Int64), post_id=pl.lit(8_888_888, pl.Int64), author_id=pl.lit(7_777_777, pl.Int64)
    )
    again = shown.head(1)
    added = [frame.with_columns(event_id=pl.col("event_id") + name) for frame, name in ((met, "-met"), (again, "-again"))]
    return pl.concat([events, *added])


@pytest.fixture
def clips():
    """A file of KuaiRand's columns, those that may be left out left out."""
    return pl.DataFrame(
        {
            "user_id": [1, 2, 1],
            "video_id": [1, 5, 1],
            "time_ms": [1_651_700_000_000, 1_651_600_000_000, 1_651_700_000_000],
            "is_click": [1, 0, 1],
            "long_view": [0, 0, 0],
            "tab": [1, 4, 1],
        }
    )


def events_of(lake: Lake) -> pl.DataFrame:
    return lake.scan_events(lake.event_days()).collect()


def written(frame: pl.DataFrame, file) -> str:
    frame.write_parquet(file)
    return file


def known_rows(settings, file):
    lakes = [Lake(settings.paths.lake), Lake(settings.paths.holdout)]
    posts = read_table(lakes, "posts")
    known, first_us = exposures._known(settings, lakes, posts, read_exposure_file(file, posts))
    return exposures._asked(known, first_us, lakes[0].day_offset)


def test_a_file_that_was_never_seen_is_scored_and_shuffling_it_changes_nothing(settings, bundle, later, tmp_path):
    one = written(later, tmp_path / "one.parquet")
    told = exposures.evaluate_exposures(settings, one, bundle_folder=bundle, draws=3)
    assert told["rows"] == (later["action"] == "impression").sum()
    assert told["posts_not_in_tables"] == 1
    assert set(told["models"]) == {"bundle", "LightGBM", "logistic regression", "popularity"}
    assert set(told["differences"]) == {"LightGBM", "logistic regression", "popularity"}
    shuffled = written(later.sample(fraction=1.0, shuffle=True, seed=1), tmp_path / "two.parquet")
    again = exposures.evaluate_exposures(settings, shuffled, bundle_folder=bundle, with_baselines=False, draws=3)
    for head in ("click", "video_view"):
        assert again["models"]["bundle"][head]["auc"]["value"] == pytest.approx(
            told["models"]["bundle"][head]["auc"]["value"], abs=2e-3
        )


def test_scrambled_later_labels_move_no_earlier_row(settings, later, tmp_path):
    boundary = later["occurred_at"].quantile(0.5)
    changed = pl.col("action").is_in(["click", "video_view", "like", "dwell"])
    scrambled = later.filter((pl.col("occurred_at") < boundary) | ~changed)
    before, after = (known_rows(settings, written(one, tmp_path / f"{n}.parquet")) for n, one in enumerate((later, scrambled)))
    for kind in ("live", "frozen"):
        one, two = getattr(before, kind), getattr(after, kind)
        early = one.occurred_at < microseconds(boundary)
        assert 0 < early.sum() < len(one)
        assert one.labels[~early].any() and not two.labels[~early][:, :3].any()
        for name in BLOCKS:
            np.testing.assert_array_equal(one.blocks[name][early], two.blocks[name][early])
        np.testing.assert_array_equal(one.history.actions[early], two.history.actions[early])
        np.testing.assert_array_equal(one.history.dwell_s[early], two.history.dwell_s[early])


def test_frozen_rows_of_a_user_day_share_one_state(settings, later, tmp_path):
    asked = known_rows(settings, written(later, tmp_path / "later.parquet"))
    for group in np.unique(asked.user_day)[:50]:
        of_day = np.flatnonzero(asked.user_day == group)
        assert (asked.frozen.blocks["user"][of_day] == asked.frozen.blocks["user"][of_day[0]]).all()
        assert (asked.frozen.history.post_id[of_day] == asked.frozen.history.post_id[of_day[0]]).all()
    first = [np.flatnonzero(asked.user_day == group)[0] for group in np.unique(asked.user_day)]
    np.testing.assert_array_equal(asked.frozen.blocks["user"][first], asked.live.blocks["user"][first])


def test_a_file_that_is_part_of_the_held_out_days_is_not_counted_twice(settings, later, tmp_path):
    posts = read_table([Lake(settings.paths.lake)], "posts")
    own = events_of(Lake(settings.paths.holdout))
    file = written(own, tmp_path / "own.parquet")
    lakes = [Lake(settings.paths.lake), Lake(settings.paths.holdout)]
    known, _ = exposures._known(settings, lakes, posts, read_exposure_file(file, posts))
    impressions = sum((events_of(lake)["action"] == "impression").sum() for lake in lakes)
    assert len(known.log) == impressions


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda frame: frame.drop("is_click"), "column 'is_click'"),
        (lambda frame: frame.drop("video_id"), "neither KuaiRand's columns"),
        (lambda frame: frame.head(0), "no rows"),
        (lambda frame: frame.with_columns(time_ms=pl.lit(17)), "column 'time_ms', row 1"),
        (lambda frame: frame.with_columns(is_click=pl.lit(2, pl.Int8)), "column 'is_click', row 1"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(clips, tmp_path, broken, message):
    posts = pl.DataFrame({"post_id": [1], "author_id": [2]})
    with pytest.raises(MalformedFile, match=message):
        read_exposure_file(written(broken(clips), tmp_path / "broken.parquet"), posts)


def test_kuairands_columns_are_read_with_repeats_and_posts_that_no_table_lists(clips, tmp_path):
    posts = pl.DataFrame({"post_id": [1], "author_id": [2]})
    events = read_exposure_file(written(clips, tmp_path / "clips.parquet"), posts)
    shown = events.filter(pl.col("action") == "impression")
    assert shown["post_id"].to_list() == [1, 5, 1]
    assert shown["author_id"].to_list()[::2] == [2, 2] and shown["author_id"][1] > 1_000_000_000
    assert shown["request_id"].n_unique() == 3
    assert (events["action"] == "click").sum() == 2


def test_events_that_break_the_contract_are_refused(later, tmp_path):
    posts = pl.DataFrame({"post_id": [1], "author_id": [2]})
    for broken, message in (
        (later.with_columns(action=pl.lit("dance")), "action is not in the closed set"),
        (later.filter(pl.col("action") != "impression"), "no impression"),
        (later.drop("occurred_at"), "column 'occurred_at'"),
    ):
        with pytest.raises(MalformedFile, match=message):
            read_exposure_file(written(broken, tmp_path / "events.parquet"), posts)


def test_what_is_no_parquet_file_is_refused(tmp_path):
    posts = pl.DataFrame({"post_id": [1], "author_id": [2]})
    (tmp_path / "text.parquet").write_text("hello")
    for name, message in (("text.parquet", "not a readable Parquet"), ("absent.parquet", "no such file")):
        with pytest.raises(MalformedFile, match=message):
            read_exposure_file(tmp_path / name, posts)


def test_the_command_prints_json_and_refuses_what_it_does_not_know(settings, bundle, later, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXER_HOME", str(settings.home))
    get_settings.cache_clear()
    file = written(later, tmp_path / "later.parquet")
    asked = ["evaluate", "--exposures", str(file), "--bundle", str(bundle), "--no-baselines", "--draws", "2"]
    try:
        told = CliRunner().invoke(app, [*asked, "--state", "frozen", "--json"], catch_exceptions=False)
        assert json.loads(told.stdout)["state"] == "frozen"
        assert "top 10" in CliRunner().invoke(app, asked, catch_exceptions=False).stdout
        with pytest.raises(ValueError, match="state is 'warm'; it is one of live, frozen"):
            CliRunner().invoke(app, [*asked, "--state", "warm"], catch_exceptions=False)
        with pytest.raises(ValueError, match="mixer run train"):
            CliRunner().invoke(app, ["evaluate", "--exposures", str(file)], catch_exceptions=False)
    finally:
        get_settings.cache_clear()
