"""Feast, for real: what is applied, built and materialised is what training saw and what a request reads."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.ranking_state import Key
from feature_repo.blocks import BLOCK_NAMES
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.feature_rows import BLOCKS
from feature_repo.feature_services import RANKING, REQUEST
from feature_repo.feature_store import FeatureTablesMissing, apply, build_offline, materialise, online_file, open_store
from feature_repo.lake import Lake
from feature_repo.online import OnlineFeatures, cold_start
from feature_repo.request_rows import candidate_rows
from feature_repo.snapshot import SnapshotMissing, build_snapshot, current_version, load_snapshot, publish
from feature_repo.state_tables import read_state_table
from feature_repo.surfaces import surface_code
from feature_repo.training_rows import point_in_time_rows
from infra.settings import Settings
from tests.small_events import FIRST_DAY, START, small_events, small_lake

pytestmark = pytest.mark.slow

DAYS = [FIRST_DAY + timedelta(days=number) for number in range(4)]
CUT = START + timedelta(days=3)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> tuple[Settings, Lake]:
    """Features of all events before CUT, online."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    lake = small_lake(settings.paths.lake)
    with pytest.raises(FeatureTablesMissing, match="build_offline"):
        materialise(settings, CUT)
    registered = apply(settings)
    assert f"service {RANKING}" in registered
    assert f"service {REQUEST}" in registered
    build_offline(settings, [lake], CUT - timedelta(microseconds=1))
    written = materialise(settings, CUT)
    assert written["user"] == 13  # the one who never acted has a profile
    assert written["post"] == 40
    publish(settings, build_snapshot(settings, lake, CUT))
    return settings, lake


def test_a_request_reads_what_training_would_have_seen_at_the_same_moment(home, tmp_path):
    """One planted exposure per user at CUT: its training row must equal the row that serving builds for that moment."""
    settings, _ = home
    asked = (
        small_events(exposures=300, seed=77)
        .filter(pl.col("action") == "impression", pl.col("product") != HISTORY_BEFORE)
        .unique(["user_id", "post_id"], maintain_order=True)
        .with_columns(
            event_id="asked-" + pl.col("event_id"),
            request_id="asked-" + pl.col("event_id"),
            occurred_at=pl.lit(CUT).cast(pl.Datetime("us", "UTC")),
        )
    )
    past = small_events().filter(pl.col("occurred_at") < CUT)
    asking = small_lake(tmp_path / "lake", pl.concat([past, asked]))
    trained = point_in_time_rows(Settings(home=tmp_path), [asking], [CUT.date()])
    assert len(trained) == asked.height > 100

    online, snapshot, cut_us = OnlineFeatures(settings), load_snapshot(settings), round(CUT.timestamp() * 1e6)
    for user_id in range(12):
        for product in ("tab_0", "tab_1", "tab_2"):
            rows = trained.take((trained.user_id == user_id) & (trained.product == surface_code(product)))
            served = candidate_rows(online.user(user_id, cut_us), snapshot, snapshot.rows_of(rows.post_id), product, cut_us)
            for name in BLOCKS:
                np.testing.assert_allclose(served.blocks[name], rows.blocks[name], rtol=1e-5, atol=1e-5, err_msg=name)
            for name in ("post_id", "author_id", "topic"):
                np.testing.assert_array_equal(getattr(served, name), getattr(rows, name))
            for name in served.history.__dataclass_fields__:
                expected = getattr(rows.history, name)[:1] if len(rows) else getattr(served.history, name)
                np.testing.assert_array_equal(getattr(served.history, name), expected, err_msg=name)


def test_feast_s_own_historical_retrieval_agrees_with_the_as_of_search(home):
    import pandas as pd

    settings, lake = home
    questions = lake.events([day for day in lake.event_days() if day <= CUT.date()]).sample(60, seed=4)
    moments = questions["occurred_at"].to_list()
    store = open_store(settings)
    for key in (Key.USER, Key.POST, Key.AUTHOR):
        ids = questions[key.column].to_list()
        entities = pd.DataFrame({key.column: ids, "event_timestamp": moments, "question": range(len(ids))})
        answer = store.get_historical_features(entities, [f"{key.value}:state", f"{key.value}:updated_at"]).to_df()
        answer = answer.sort_values("question")
        table = read_state_table(settings.paths.features / "states", key)
        now_us = questions["occurred_at"].dt.epoch("us").to_numpy()
        ours = table.as_of(np.array(ids), now_us)
        np.testing.assert_array_equal(np.stack(answer["state"].to_list()), ours.state)
        assert answer["updated_at"].tolist() == ours.updated_at.tolist()


def test_an_unknown_user_gets_the_declared_cold_start(home):
    settings, _ = home
    stranger = OnlineFeatures(settings).user(999_999, 1)
    assert not stranger.known
    np.testing.assert_array_equal(stranger.user, cold_start(999_999, 1).user)
    assert (stranger.history.post_id == -1).all()
    rows = candidate_rows(stranger, load_snapshot(settings), np.arange(5), "for_you", round(CUT.timestamp() * 1e6))
    assert rows.dense().shape == (5, sum(len(names) for names in BLOCK_NAMES.values()))
    assert np.isfinite(rows.dense()).all()


def test_a_user_who_never_acted_is_known_by_profile(home):
    settings, _ = home
    quiet = OnlineFeatures(settings).user(12, 1)
    assert quiet.known
    assert quiet.user[0, BLOCK_NAMES["user"].index("log_followers")] == pytest.approx(np.log1p(120))


def test_an_unknown_post_is_ranked_as_one_nobody_has_met(home):
    settings, _ = home
    snapshot = load_snapshot(settings)
    rows = candidate_rows(cold_start(1, 1), snapshot, snapshot.rows_of(np.array([100, 12345])), "for_you", snapshot.as_of_us)
    assert rows.post_id.tolist() == [100, -1]
    assert np.isfinite(rows.dense()).all()


def test_the_newest_snapshots_are_kept_and_the_pointer_moves(home):
    settings, lake = home
    versions = []
    for number in range(5):
        snapshot = build_snapshot(settings, lake, CUT + timedelta(seconds=number))
        publish(settings, snapshot)
        versions.append(snapshot.version)
    assert current_version(settings) == versions[-1]
    kept = {folder.name for folder in settings.paths.snapshots.iterdir() if folder.is_dir()}
    assert kept == set(versions[-3:])
    assert load_snapshot(settings, versions[-2]).as_of_us == round((CUT + timedelta(seconds=3)).timestamp() * 1e6)
    with pytest.raises(SnapshotMissing, match="only the newest are kept"):
        load_snapshot(settings, versions[0])


def test_no_snapshot_yet_says_what_to_run(tmp_path):
    assert current_version(Settings(home=tmp_path)) is None
    with pytest.raises(SnapshotMissing, match="features flow"):
        load_snapshot(Settings(home=tmp_path))


WRITER = """
import sys
from datetime import UTC, datetime
import numpy as np, pandas as pd
from infra.settings import Settings
from feature_repo.aggregates.ranking_state import STATE_WIDTH
from feature_repo.feature_store import open_store
store = open_store(Settings(home=sys.argv[1]))
print("ready", flush=True)
stamp = datetime(2030, 1, 1, tzinfo=UTC)
for number in range(25):
    ids = list(range(1000, 1400))
    rows = {"author_id": ids, "state": [np.full(STATE_WIDTH, number, np.float32)] * len(ids),
            "updated_at": [number] * len(ids), "event_timestamp": [stamp] * len(ids)}
    store.write_to_online_store("author", pd.DataFrame(rows))
print("done", flush=True)
"""


def test_readers_never_meet_a_locked_store_while_another_process_writes(home):
    """The file is in write-ahead mode; reads go on through 25 write transactions of another process and none fails."""
    settings, _ = home
    mode = sqlite3.connect(online_file(settings)).execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == "wal"
    online = OnlineFeatures(settings)
    online.warm()
    store = open_store(settings)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(settings.home)], cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    with writer:
        assert writer.stdout.readline().strip() == "ready"
        reads, torn = 0, 0
        while writer.poll() is None:
            assert online.user(reads % 12, 1).known
            answer = store.get_online_features(["author:state", "author:updated_at"], [{"author_id": 1399}]).to_dict()
            if answer["state"][0] is not None:
                torn += answer["state"][0][0] != answer["updated_at"][0]
            reads += 1
        assert writer.stdout.read().strip().startswith("done")
    assert writer.returncode == 0
    assert reads > 20
    assert torn == 0


def test_opening_the_online_features_needs_no_batch_engine():
    """A serving process must not pay for Ibis or DuckDB."""
    program = (
        "import sys, feature_repo.online, feature_repo.snapshot, feature_repo.request_rows;"
        "print(sorted({'ibis', 'duckdb', 'evidently', 'great_expectations', 'mlflow', 'torch', 'feast'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
