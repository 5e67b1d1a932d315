"""KuaiRand's files become contract tables: nothing is lost, nothing is made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.contracts import HISTORY_BEFORE, check_table
from feature_repo.datasets.kuairand.accounts import ATTRIBUTES
from feature_repo.datasets.kuairand.adapter import AUTHOR_OFFSET, KuaiRand
from feature_repo.datasets.search_path import find_kuairand
from infra.settings import Settings
from tests.unit.datasets.kuairand_folder import START_MS, exposure, history, user, video, write_official, write_slice

START = datetime.fromtimestamp(START_MS / 1_000, UTC)


def events_of(folder: Path) -> pl.DataFrame:
    return KuaiRand(folder).tables().events


def test_an_exposure_on_which_nothing_happened_is_kept_as_an_impression(tmp_path: Path) -> None:
    events = events_of(write_slice(tmp_path, [exposure()]))
    assert events["action"].to_list() == ["impression"]
    assert events.row(0, named=True) == {
        "event_id": "kr-0-impression",
        "user_id": 1,
        "post_id": 10,
        "author_id": AUTHOR_OFFSET + 900,
        "action": "impression",
        "value": None,
        "product": "tab_1",
        "position": None,
        "release": None,
        "propensity": None,
        "request_id": "kr-0",
        "occurred_at": START,
    }


@pytest.mark.parametrize(
    ("column", "action"),
    [
        ("is_click", "click"),
        ("is_like", "like"),
        ("is_profile_enter", "profile_click"),
        ("is_follow", "follow"),
        ("is_comment", "reply"),
        ("is_forward", "share"),
        ("is_hate", "not_interested"),
    ],
)
def test_each_signal_is_its_own_action(tmp_path: Path, column: str, action: str) -> None:
    events = events_of(write_slice(tmp_path, [exposure(**{column: 1})]))
    assert set(events["action"]) == {"impression", action}


def test_play_time_is_the_value_of_dwell_and_of_a_quality_view(tmp_path: Path) -> None:
    events = events_of(write_slice(tmp_path, [exposure(long_view=1, play_time_ms=7_500)]))
    assert dict(events.select("action", "value").iter_rows()) == {"impression": None, "video_view": 7_500.0, "dwell": 7_500.0}


def test_events_of_one_exposure_share_its_moment_and_request(tmp_path: Path) -> None:
    rows = [exposure(is_click=1, is_like=1, play_time_ms=5), exposure(2, 11, time_ms=START_MS + 3, is_click=1)]
    events = events_of(write_slice(tmp_path, rows))
    shared = events.group_by("request_id").agg(pl.col("occurred_at").n_unique(), pl.col("user_id").n_unique(), pl.len())
    assert sorted(shared.rows()) == [("kr-0", 1, 1, 4), ("kr-1", 1, 1, 2)]


def test_exact_duplicate_rows_stay_apart(tmp_path: Path) -> None:
    events = events_of(write_slice(tmp_path, [exposure(is_click=1)] * 3))
    assert events.height == 6
    assert events["event_id"].n_unique() == 6


def test_history_lists_become_undated_events_in_their_order(tmp_path: Path) -> None:
    events = events_of(write_slice(tmp_path, [exposure()], histories=[history()]))
    prior = events.filter(pl.col("product") == HISTORY_BEFORE)
    assert prior.select("event_id", "post_id", "author_id", "position").rows() == [
        ("kr-h-1-impression-0", 10, AUTHOR_OFFSET + 900, 0),
        ("kr-h-1-impression-1", 11, AUTHOR_OFFSET + 901, 1),
        ("kr-h-1-impression-2", 10, AUTHOR_OFFSET + 900, 2),
        ("kr-h-1-like-0", 11, AUTHOR_OFFSET + 901, 0),
    ]
    assert set(prior["occurred_at"]) == {START - timedelta(days=1)}


def test_prior_impressions_add_up_to_all_exposures_that_the_file_counts(tmp_path: Path) -> None:
    events = events_of(write_slice(tmp_path, [exposure()], histories=[history(n_exposures_0409_0424=92)]))
    prior = events.filter((pl.col("product") == HISTORY_BEFORE) & (pl.col("action") == "impression"))
    assert prior["value"].sum() == pytest.approx(92)


def test_an_exposure_of_an_unlisted_video_is_kept_apart_with_its_reason(tmp_path: Path) -> None:
    tables = KuaiRand(write_slice(tmp_path, [exposure(), exposure(2, 77, is_click=1)])).tables()
    assert tables.events["post_id"].to_list() == [10]
    assert tables.malformed.select("event_id", "reason").rows() == [
        ("kr-1-impression", "post_id is not listed in videos.parquet"),
        ("kr-1-click", "post_id is not listed in videos.parquet"),
    ]


def test_videos_become_posts_created_at_midnight_in_beijing(tmp_path: Path) -> None:
    videos = (video(10, 900), video(11, 901, tag=None, video_duration=None, video_type="AD"))
    posts = KuaiRand(write_slice(tmp_path, videos=videos)).tables().posts
    assert posts["topics"].to_list() == [[3, 7], []]
    assert posts["duration_ms"].to_list() == [10_000, None]
    assert posts["media"].to_list() == ["video", "ad"]
    assert posts["created_at"][0] == datetime(2022, 4, 9, 16, tzinfo=UTC)


def test_unknown_user_codes_become_minus_one(tmp_path: Path) -> None:
    odd = user(1, is_live_streamer=-124, onehot_feat4=None, user_active_degree="UNKNOWN")
    users = KuaiRand(write_slice(tmp_path, users=(odd, user(2)))).tables().users
    first, second = (dict(zip(ATTRIBUTES, codes, strict=True)) for codes in users["attributes"])
    assert (first["is_live_streamer"], first["onehot_feat4"], first["user_active_degree"]) == (-1, -1, -1)
    assert (second["is_live_streamer"], second["onehot_feat4"], second["user_active_degree"]) == (1, 2, 7)
    assert users["followers"].to_list() == [3, 3]


def test_both_layouts_give_the_same_tables(tmp_path: Path) -> None:
    rows = [exposure(is_click=1, play_time_ms=9), exposure(2, 11, is_like=1), exposure(2, 10, tab=4)]
    people = (user(1, onehot_feat4=None), user(2))
    films = (video(10, 900, tag=None), video(11, 901))
    parquet = KuaiRand(write_slice(tmp_path / "slice", rows, users=people, videos=films)).tables()
    csv = KuaiRand(write_official(tmp_path / "official", rows, users=people, videos=films)).tables()
    for name in ("events", "posts", "users"):
        assert check_table(name, getattr(csv, name)).equals(check_table(name, getattr(parquet, name))), name


def test_random_exposures_carry_the_chance_of_a_uniform_draw_from_the_pool(tmp_path: Path) -> None:
    folder = write_official(tmp_path, [exposure()], randomised=[exposure(2, 11, is_rand=1, is_click=1, tab=0)])
    random = events_of(folder).filter(pl.col("request_id") == "kr-r-0")
    assert set(random["action"]) == {"impression", "click"}
    assert random["propensity"].to_list() == [0.5, 0.5]  # a pool of two videos
    assert set(random["product"]) == {"tab_0"}


def test_standard_exposures_keep_their_ids_when_the_random_log_arrives(tmp_path: Path) -> None:
    rows = [exposure(), exposure(2, 11)]
    alone = events_of(write_official(tmp_path / "alone", rows))
    both = events_of(write_official(tmp_path / "both", rows, randomised=[exposure(is_rand=1)]))
    assert set(alone["event_id"]) < set(both["event_id"])


def test_the_fingerprint_follows_the_bytes(tmp_path: Path) -> None:
    first = KuaiRand(write_slice(tmp_path / "a", [exposure()])).fingerprint()
    same = KuaiRand(write_slice(tmp_path / "b", [exposure()])).fingerprint()
    other = KuaiRand(write_slice(tmp_path / "c", [exposure(is_click=1)])).fingerprint()
    assert first == same != other


def test_the_real_slice_is_read_whole() -> None:
    folder = find_kuairand(Settings())
    if folder is None or not (folder / "exposures.parquet").is_file():
        pytest.skip("the KuaiRand slice is not on the search path")
    tables = KuaiRand(folder).tables()
    dated = tables.events.filter(pl.col("product") != HISTORY_BEFORE)
    log = pl.read_parquet(folder / "exposures.parquet")
    counts = dict(dated.group_by("action").len().iter_rows())
    assert counts["impression"] == log.height
    assert counts["click"] == log["is_click"].sum()
    assert counts["video_view"] == log["long_view"].sum()
    assert tables.events["event_id"].is_unique().all()
    prior = tables.events.filter((pl.col("product") == HISTORY_BEFORE) & (pl.col("action") == "impression"))
    counted = pl.read_parquet(folder / "history_before_0425.parquet")["n_exposures_0409_0424"].sum()
    assert prior["value"].sum() == pytest.approx(counted)
    assert tables.malformed.is_empty()
