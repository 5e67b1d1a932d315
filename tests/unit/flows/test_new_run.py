"""A new run in a home forgets what the one before lived through, and none of the ids that the lake is written in."""

from __future__ import annotations

import polars as pl
import pytest

from feature_repo.datasets.adapter import DatasetNotFound, MalformedFile
from feature_repo.datasets.ingest import IngestError, ingest
from feature_repo.ids import IdTable
from feature_repo.lake import Lake
from flows.demo.new_run import current_dataset, open_run, reset_live_state
from flows.demo.run_folder import RunFolder
from infra.settings import Settings
from services.releases.approvals import Approvals
from tests.own_files import event, own, write_csv, write_lines


def settings_of(tmp_path, data) -> Settings:
    return Settings(home=tmp_path / "home", dataset="own", data=data)


def test_ids_outlive_what_a_run_lived_through(tmp_path):
    settings = settings_of(tmp_path, tmp_path)
    texts = pl.Series("user", ["ann", "bob"])
    numbers = IdTable(settings.platform_database_url).numbers("user", texts)
    Approvals(settings.platform_database_url).pending()
    folder, _ = RunFolder.open(settings.paths.runs)
    reset_live_state(settings, folder)
    table = IdTable(settings.platform_database_url)
    assert table.texts("user", numbers).to_list() == ["ann", "bob"]
    assert table.numbers("user", pl.Series("user", ["cid"])).item() not in numbers.to_list()
    assert (folder.folder / "platform-before.db").exists()
    assert not Approvals(settings.platform_database_url).pending()
    reset_live_state(settings, folder)  # a second time, as after a kill


def test_another_dataset_is_refused_before_anything_is_forgotten(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_lines(tmp_path / name / "events.jsonl", [event(n, user_id=f"{name} {n}") for n in range(9)])
    settings = settings_of(tmp_path, tmp_path / "one")
    adapter = own(tmp_path / "one")
    ingest(adapter, Lake(settings.paths.lake), Lake(settings.paths.holdout), hold_out=False)
    assert current_dataset(settings) == adapter.fingerprint()
    with pytest.raises(IngestError, match="holds dataset"):
        current_dataset(settings_of(tmp_path, tmp_path / "two"))


def test_a_dataset_that_cannot_be_read_is_refused_before_anything_starts(tmp_path):
    file = write_csv(tmp_path / "log" / "events.csv", "u,post_id,occurred_at\n1,2,2025-01-01\n")
    settings = settings_of(tmp_path, file.parent)
    for _ in range(2):  # a refused run is not one to carry on
        with pytest.raises(MalformedFile, match="no column stands for user_id"):
            open_run(settings, fresh=False)
    write_csv(file, "user_id,post_id,occurred_at\n1,2,2025-01-01\n")
    write_csv(tmp_path / "log" / "posts.csv", "post_id\n2\n")
    (tmp_path / "log" / "mapping.yaml").write_text("events: {action: click}\nposts: {columns: {post_id: number}}\n")
    with pytest.raises(MalformedFile, match="posts.csv, column 'number': the mapping names this column"):
        open_run(settings, fresh=False)


def test_a_run_that_has_its_data_goes_on_without_them_and_a_new_one_does_not(tmp_path):
    write_lines(tmp_path / "log" / "events.jsonl", [event(n) for n in range(9)])
    settings = settings_of(tmp_path, tmp_path / "log")
    folder, new = open_run(settings, fresh=False)
    assert new
    folder.finish("ingest", {"fingerprint": f"{current_dataset(settings)}-0"}, 1.0)
    (tmp_path / "log" / "events.jsonl").unlink()
    again, new = open_run(settings, fresh=False)
    assert not new and again.name == folder.name
    with pytest.raises(DatasetNotFound):
        open_run(settings, fresh=True)
    assert [run.name for run in settings.paths.runs.iterdir()] == [folder.name]
