"""A whole bundle trained by two processes, on rows whose signal is known. They are forked, but for those of the flow."""

from __future__ import annotations

import numpy as np
import pytest

from flows.train import fit
from flows.training import distributed
from flows.training.distributed import TrainingProcessesError, train_in_processes
from flows.training.evaluate import auc
from flows.training.fit import TrainReport
from infra.settings import Settings, get_settings
from services.ranking.bundle import ModelBundle
from tests.forked_commands import fork_commands
from tests.short_training import shorten_training
from tests.synthetic_rows import synthetic_rows

ROWS = 2_000
OPTIONS = {"seed": 7, "threads": 2, "teacher_share": 0.5}


@pytest.fixture(scope="module")
def train():
    return synthetic_rows(ROWS, seed=1)


@pytest.fixture(scope="module")
def told() -> list[tuple[str, float, float]]:
    return []


@pytest.fixture(scope="module")
def report(train, told, tmp_path_factory) -> TrainReport:
    home = tmp_path_factory.mktemp("home")
    folder = home / "bundles" / "b"
    tell = lambda *said: told.append(said)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        fork_commands(patch, distributed, shorten_training)
        return train_in_processes(Settings(home=home), train, folder, processes=2, options=OPTIONS, on_progress=tell)


@pytest.mark.slow
def test_two_processes_make_a_bundle_that_found_the_signal(report):
    later = synthetic_rows(2_000, seed=2)
    bundle = ModelBundle.load(report.folder)
    assert bundle.version == report.version
    assert report.rows == ROWS
    assert auc(bundle.heavy_predict(later)[:, 0], later.labels[:, 0]) > 0.62


@pytest.mark.slow
def test_progress_of_one_of_them_is_told(report, told):
    shares = {name: [share for model, share, _ in told if model == name] for name in ("two_tower", "heavy")}
    assert all(found == sorted(set(found)) and found[-1] == 1.0 for found in shares.values())


@pytest.mark.slow
def test_nothing_but_the_bundle_is_left_behind(report):
    assert {file.suffix for file in report.folder.iterdir()} == {".safetensors", ".json"}
    assert list(report.folder.parent.iterdir()) == [report.folder]


@pytest.mark.slow
def test_the_training_flow_starts_as_many_processes_as_are_set_and_a_failure_is_named_with_what_they_said(
    tmp_path, train, monkeypatch
):
    monkeypatch.setenv("MIXER_HOME", str(tmp_path))
    monkeypatch.setenv("MIXER_TRAIN_PROCESSES", "2")
    get_settings.cache_clear()
    try:
        with pytest.raises(
            TrainingProcessesError,
            match=r"(?s)2 training processes ended with 1: process 0: TrainingRowsError: .*at least 100 exposures",
        ):
            fit.fn(train.take(np.arange(50)), tmp_path / "b")
    finally:
        get_settings.cache_clear()
