"""The bench of ingestion at a size that proves that every event gets into the lake, not how fast."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import polars as pl
import pytest

from tests.bench import ingest
from tests.bench.ingest import COLUMNS, NoRoom, bench_ingest, write_files

FIGURES = {"events", "file_bytes_per_event", "rows_per_s", "rows_per_cpu_s", "peak_memory_gb", "peer"}


@pytest.mark.slow
def test_every_part_has_its_figures_beside_those_of_the_peer_and_leaves_no_file(tmp_path: Path) -> None:
    report = bench_ingest(tmp_path, 10_000, text_ids=True)
    assert report["simulated"] is True
    for part in ("parquet", "csv", "text_ids"):
        assert report[part].keys() == FIGURES
        assert report[part]["rows_per_s"] > 0 and report[part]["peak_memory_gb"] > 0
        assert report[part]["peer"].keys() == {"what", "rows_per_s", "rows_per_cpu_s", "peak_memory_gb"}
    assert report["parquet"]["events"] == report["csv"]["events"] > 5 * report["text_ids"]["events"]
    assert list(tmp_path.iterdir()) == []


def test_both_formats_hold_the_same_events_and_no_two_have_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_FILE_EVENTS", 1_000)
    for kind in ("parquet", "csv"):
        rows, size = write_files(tmp_path / kind, kind, 3_000, 7, False)
        assert size == sum(file.stat().st_size for file in (tmp_path / kind).iterdir())
    written = pl.read_parquet(tmp_path / "parquet" / "*.parquet")
    read = pl.read_csv(tmp_path / "csv" / "*.csv", schema_overrides={"event_id": pl.String, "position": pl.Int32})
    assert read.with_columns(pl.col("occurred_at").str.to_datetime(time_zone="UTC")).equals(written)
    assert written.columns == list(COLUMNS) and written["event_id"].n_unique() == written.height == rows
    assert len(list((tmp_path / "csv").iterdir())) == 3


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(ingest.shutil, "disk_usage", lambda _folder: usage(100e9, 99e9, 1e9))
    with pytest.raises(NoRoom, match=r"50,000,000 events need about 12\.5 GB of disk and .* has 1\.0 GB free"):
        bench_ingest(tmp_path, 50_000_000)
    assert list(tmp_path.iterdir()) == []
