"""`mixer features backfill`: one command brings a family from the lake's history to Feast's online store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from feature_repo.aggregates.batch_engine import EngineLimits
from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.families import FAMILY_OF
from feature_repo.backfill import NoHistory, backfill
from feature_repo.event_log import read_events
from feature_repo.lake import Lake
from feature_repo.offline_files import source_file
from feature_repo.recomputation.online_cells import newest_us
from flows.cli.features import features
from flows.cli.features_backfill import moment_of
from infra.settings import Settings, get_settings
from tests.closed_formula import assert_same_cells, remembered
from tests.small_events import small_lake

AS_OF = datetime(2022, 4, 27, 18, 30, tzinfo=UTC)


def quiet(step: str, done: int, of: int) -> None:
    """Progress that no one watches."""


def unpacked(rows: pl.DataFrame) -> np.ndarray:
    """All CELLs of a view's rows."""
    return np.frombuffer(b"".join(rows["packed"]), CELL)


@pytest.mark.parametrize("name", ["user_hour", "author"])
def test_a_backfill_writes_the_familys_view_from_the_history_before_the_moment(tmp_path, name):
    lake, family = small_lake(tmp_path / "lake"), FAMILY_OF[name]
    limits = EngineLimits(tmp_path / "scratch", memory_gb=0.5, threads=1)
    done = backfill(lake, family, tmp_path / "features", limits, AS_OF, tell=quiet)
    rows = pl.read_parquet(source_file(tmp_path / "features", f"{name}_aggregates"))
    as_of_us = round(AS_OF.timestamp() * 1_000_000)
    cells = unpacked(rows)
    assert_same_cells(cells, remembered(read_events([lake]), family, as_of_us), as_of_us)
    assert (done.keys, done.cells) == (rows.height, len(cells))
    assert rows["event_timestamp"].dt.epoch("us").to_list() == [newest_us(packed) + 1 for packed in rows["packed"]]
    assert not list((tmp_path / "scratch").iterdir())


def test_without_a_moment_it_takes_the_whole_history(tmp_path):
    lake = small_lake(tmp_path / "lake")
    limits = EngineLimits(tmp_path / "scratch", memory_gb=0.5, threads=1)
    steps: list[tuple[str, int, int]] = []
    done = backfill(lake, FAMILY_OF["topic"], tmp_path / "features", limits, tell=lambda *step: steps.append(step))
    newest = read_events([lake])["at"].max()
    assert done.as_of == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=newest + 1)
    cells = unpacked(pl.read_parquet(done.view_file))
    assert_same_cells(cells, remembered(read_events([lake]), FAMILY_OF["topic"]), newest + 1)
    days = len(lake.event_days())
    assert [step for step in steps if step[0] == "reading events"] == [("reading events", day + 1, days) for day in range(days)]


def test_a_lake_with_no_events_before_the_moment_is_named(tmp_path):
    limits = EngineLimits(tmp_path / "scratch", memory_gb=0.5)
    with pytest.raises(NoHistory, match="no events"):
        backfill(Lake(tmp_path / "empty"), FAMILY_OF["user"], tmp_path, limits, tell=quiet)
    with pytest.raises(NoHistory, match="before 2001-01-01"):
        early = datetime(2001, 1, 1, tzinfo=UTC)
        backfill(small_lake(tmp_path / "lake"), FAMILY_OF["user"], tmp_path, limits, early, tell=quiet)


@pytest.mark.slow
def test_the_command_backfills_and_a_materialisation_brings_the_family_online(tmp_path, monkeypatch):
    from feature_repo.feature_store import apply, build_offline, materialise, open_store

    monkeypatch.setenv("MIXER_HOME", str(tmp_path))
    get_settings.cache_clear()
    settings: Settings = get_settings()
    try:
        lake = small_lake(settings.paths.lake)
        result = CliRunner().invoke(
            features,
            ["backfill", "user_author", "--as-of", AS_OF.replace(tzinfo=None).isoformat()],
            env={"COLUMNS": "200"},
            catch_exceptions=False,
        )
        assert result.exit_code == 0, result.output
        assert "reading events" in result.output
        assert "as of 2022-04-27 18:30:00 UTC" in result.output
        apply(settings)
        build_offline(settings, [lake], AS_OF)
        written = materialise(settings, AS_OF + timedelta(seconds=1))
        store, name = open_store(settings), "user_author_aggregates:packed"
        keys = pl.read_parquet(source_file(settings.paths.features, "user_author_aggregates"))
        assert written["user_author_aggregates"] == keys.height
        asked = [{"user_id": user, "author_id": author} for user, author in keys.select("user_id", "author_id").iter_rows()]
        online = store.get_online_features([name], entity_rows=asked).to_dict()["packed"]
        as_of_us = round(AS_OF.timestamp() * 1_000_000)
        expected = remembered(read_events([lake]), FAMILY_OF["user_author"], as_of_us)
        assert_same_cells(np.frombuffer(b"".join(online), CELL), expected, as_of_us)
    finally:
        get_settings.cache_clear()


def test_an_unknown_family_and_an_unreadable_moment_say_what_is_expected():
    with pytest.raises(ValueError, match="user_author"):
        CliRunner().invoke(features, ["backfill", "user_autor"], catch_exceptions=False)
    with pytest.raises(ValueError, match="2022-05-01T12:00"):
        moment_of("yesterday")
    assert moment_of("2022-05-01T12:00") == moment_of("2022-05-01T20:00+08:00") == datetime(2022, 5, 1, 12, tzinfo=UTC)
