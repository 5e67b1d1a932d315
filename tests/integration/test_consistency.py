"""The consistency check over a small platform: served for real, recomputed for real; clean, and with planted faults."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.families import FAMILY_NAMES
from feature_repo.aggregates.measures import MEASURE_INDEX
from feature_repo.aggregates.stream_output import OnlineWriter, SnapshotMirror, progress_of, write_progress
from feature_repo.aggregates.stream_seed import open_lake, seed_stream_state
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.bulk_online.writer import open_bulk_writer
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.feature_store import MATERIALISED, open_store
from feature_repo.online import OnlineFeatures
from feature_repo.profiles import user_profiles
from feature_repo.recomputation.online_cells import newest_us
from feature_repo.recomputation.served_vectors import read_served_vectors
from feature_repo.snapshot import load_snapshot, publish
from feature_repo.view_schemas import PACKED, aggregates_view
from infra.settings import Settings
from monitoring.consistency.check import check_consistency
from monitoring.consistency.report import ConsistencyReport, ServedFeaturesDiffer, write_report
from services.intake.producer import EventProducer
from services.mixer.api_types import TimelineRequest
from services.mixer.queries import timeline_query
from services.mixer.runtime import MixerRuntime
from tests.free_ports import free_port
from tests.patient import patient
from tests.small_home import make_home, untrained_bundle

pytestmark = pytest.mark.slow

KEYS = 30
TINY = WorldConfig(seed=11, users=40, posts=150, days=5)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    """A platform whose stream worker has caught up with the lake, and whose mixer has served twelve users."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), threads=1, broker_port=free_port(), served_sample_every_s=1e-6)
    as_of = make_home(settings, TINY)
    an_hour_ago = time.time() - 3_600
    os.utime(settings.paths.features / MATERIALISED, (an_hour_ago, an_hour_ago))
    for file in settings.paths.lake.glob("events/*/*.parquet"):
        os.utime(file, (an_hour_ago, an_hour_ago))
    untrained_bundle(settings, settings.paths.bundles / "untrained")
    seed_stream_state(settings, as_of)
    show_all(settings)
    serve(settings)
    return settings


def show_all(settings: Settings) -> None:
    """What a stream worker that has caught up leaves: every row online, a snapshot, its progress."""
    state, lake = StreamState(settings.paths.stream, threads=1), open_lake(settings)
    writer = OnlineWriter(settings, lake, state)
    writer.note_changed_since(0)
    while writer.waiting:
        writer.write_some(1.0)
    version = SnapshotMirror(settings, lake, state).publish(state.number("newest_event_us") + 1)
    write_progress(settings, progress_of(state, version, writer.waiting))
    writer.close()
    state.close()


def serve(settings: Settings) -> None:
    """Serve the For You timeline of twelve users within a tick an hour after the snapshot, twice, and once between ticks.

    The first two read prepared posts, the second of them as the first left them; the third is of another time than now.
    """
    runtime = patient(
        MixerRuntime(
            settings, {"release_id": "r-test", "bundle": "untrained"}, EventProducer(settings, delivery_timeout_ms=500)
        )
    )
    users = open_lake(settings).read("users")["user_id"].sort().head(12).to_list()
    now_us = runtime.corpus.snapshot.as_of_us + 3_600_000_000 + 7_000_000
    runtime.refresh(now_us)

    async def ask() -> None:
        for user in users:
            for moment_us in (now_us, now_us + 20_000_000, now_us - 1_800_000_000):
                query = timeline_query(runtime, "for_you", TimelineRequest(user_id=user, count=20))
                query = replace(query, now_us=moment_us)
                result = await runtime.engine.execute(runtime.pipelines["for_you"], query)
                assert result.trace.degraded == []
                assert (result.query["context"].posts is None) == (moment_us < now_us)
        await runtime.engine.drain()

    asyncio.run(ask())
    runtime.close()


def check(settings: Settings) -> ConsistencyReport:
    return check_consistency(settings, open_lake(settings), "a small world", KEYS, lambda text: None)


def test_what_was_served_is_what_the_lake_gives(settings):
    report = check(settings)
    report.require()
    by_name = {family.family: family for family in report.families}
    assert set(by_name) == {*FAMILY_NAMES, "ranking.user", "ranking.post", "ranking.author", "ranking.topic"}
    assert report.left_out == ()
    for family in report.families:
        assert family.differing == 0, family.headline
        assert family.judged > 0, family
    assert by_name["ranking.user"].judged == 36


def test_planted_faults_fail_the_check_by_family_and_feature(settings, tmp_path):
    double_clicks_of_pairs(settings)
    lose_the_newest_events_of_hours(settings)
    serve_authors_from_a_wrong_snapshot(settings)
    report = check(settings)
    by_name = {family.family: family for family in report.families}
    assert {family.family for family in report.broken} == {"user_author", "user_hour", "ranking.author"}
    assert "user_author.impression" in by_name["user_author"].worst[0].name
    assert by_name["user_hour"].behind > 0
    with pytest.raises(
        ServedFeaturesDiffer, match=r"(?s)user_author: .*worst feature user_author\.imp.*user_hour: .*lack events"
    ):
        report.require()
    page = write_report(report, tmp_path).read_text()
    assert "served features differ" in page
    assert by_name["user_author"].worst[0].name in page
    assert "http" not in page


def test_users_whose_facts_come_later_are_online_with_them(settings):
    """The worker had read the users before; a materialisation wrote the facts, and its next write must not undo them."""
    state, lake = StreamState(settings.paths.stream, threads=1), open_lake(settings)
    writer = OnlineWriter(settings, lake, state)
    active = lake.events()["user_id"].implode()  # the others' rows are the materialisation's alone
    users = lake.read("users").filter(pl.col("user_id").is_in(active)).sort("user_id").head(2)
    later = users.with_columns(followers=pl.lit(12_345, pl.Int64))
    while writer.waiting:
        writer.write_some(1.0)
    lake.write("users", later, "zz-later")
    writer.refresh()
    assert writer.waiting
    while writer.waiting:
        writer.write_some(1.0)
    writer.close()
    state.close()
    online = OnlineFeatures(settings)
    stored = [online.stored(user).profile for user in users["user_id"]]
    assert np.array_equal(np.array(stored, np.float32), user_profiles(later))


def rewrite_cells(settings: Settings, family: str, ids: tuple[str, ...], change) -> None:
    """Pass every online row of a family's view through `change`: CELL array -> CELL array."""
    view = aggregates_view(family)
    events = open_lake(settings).events()
    hours = events.with_columns(hour=pl.col("occurred_at").dt.hour().cast(pl.Int64))
    keys = hours.filter(pl.col("product") != HISTORY_BEFORE).select(ids).unique()
    answer = open_store(settings).get_online_features([f"{view}:{PACKED}"], keys.to_dicts()).to_dict()
    packed = [change(np.frombuffer(one, CELL).copy()).tobytes() for one in answer[PACKED]]
    updated_at = np.array([newest_us(one) for one in answer[PACKED]])
    with open_bulk_writer(settings) as writer:
        writer.write_cells(family, [keys[name].to_numpy() for name in ids], packed, updated_at)


def double_clicks_of_pairs(settings: Settings) -> None:
    def twice(cells: np.ndarray) -> np.ndarray:
        cells["total"][cells["measure"] == MEASURE_INDEX["impression"]] *= 2
        return cells

    rewrite_cells(settings, "user_author", ("user_id", "author_id"), twice)


def lose_the_newest_events_of_hours(settings: Settings) -> None:
    """As if their last update had never been written: all that is left is a row without a cell."""
    rewrite_cells(settings, "user_hour", ("user_id", "hour"), lambda cells: cells[:0])


def serve_authors_from_a_wrong_snapshot(settings: Settings) -> None:
    snapshot = load_snapshot(settings)
    authors = snapshot.states["author"]
    wrong = replace(authors, state=authors.state * np.float32(1.5))
    version = f"{snapshot.as_of_us}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    publish(settings, replace(snapshot, version=version, states={**snapshot.states, "author": wrong}))
    for file in settings.paths.served_vectors.glob("*.jsonl"):
        file.unlink()
    serve(settings)
    assert read_served_vectors(settings.paths.served_vectors)
