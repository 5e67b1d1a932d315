"""The tour on many logs, side by side: one process imports what all need, and each tour is forked from it.

A tour is the stages of `mixer demo` in a home of its own, with a broker, stream worker, gateway and mixer of its own; one
Prefect server serves all of them. What became of each stage is in the home's `runs/run-001/stages.json`.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.demo import stages
from flows.demo.display import Display
from flows.demo.job import run_stage
from flows.demo.plan import QUICK
from flows.demo.run_folder import RunFolder
from flows.demo.timeline import example_timeline
from flows.steps.platform import Platform
from flows.training.limits import TrainingLimits
from infra import processes
from infra.settings import OF_ONE_PROCESS, Settings, apply_environment, get_settings
from infra.supervisor import Supervisor
from monitoring.drift import report
from tests.end_to_end.forked_servers import SERVER_IMPORTS, start_forked_servers
from tests.end_to_end.shapes import EXAMPLE_SHAPES, SHAPES, Shape
from tests.free_ports import free_range
from tests.short_training import shorten_training

AT_ONCE = 2
SERVER_PORTS = 2
PORTS_EACH = 4
IMPORTED = (
    "prometheus_client",  # before Feast tells it to keep metrics in files
    *("flows.ingest", "flows.validate", "flows.features", "flows.train", "flows.release", "flows.replay", "flows.drift"),
    *("great_expectations", "feature_repo.quick_feast", "feature_repo.offline", "feature_repo.snapshot"),
    "bentoml",
    *stages.TRAIN_IMPORTS,
    *stages.DRIFT_IMPORTS,
    *SERVER_IMPORTS,
)
LIMITS = TrainingLimits(seconds=3, judged_rows=3_000, epochs=1, members=1, teacher_share=0, ensemble=False, baselines=False)
# Without `until`: the pages of MLflow and Evidently, which tours of that kind start early, are not looked at here.
PLAN = replace(QUICK, name="short", until=None, train=LIMITS, replay_visits=300, drift_rows=4_000)


class InThisProcess(stages.Context):
    """Runs flows here: they are imported already, and this process ends with its tour."""

    def run_flow(self, target: str, **parameters: Any) -> Any:
        module, name = target.split(":")
        found = getattr(importlib.import_module(module), name)(**parameters)
        return json.loads(json.dumps(found, default=str))


def drift(context: stages.Context) -> dict[str, Any]:
    """The tour's check, without the retraining that a verdict may ask for: the platform's, and tried by the whole tour."""
    found = context.run_flow(stages.DRIFT, most_rows=context.plan.drift_rows)
    if not found["columns"]:
        raise stages.TooLittleData(found["reasons"][0])
    return found


def timeline(context: stages.Context) -> dict[str, Any]:
    return {"timeline": example_timeline(context.settings)}


BY_NAME = {stage.name: stage for stage in stages.STAGES}
SHORT_STAGES = (
    *(BY_NAME[name] for name in ("ingest", "validate", "features", "train", "release", "stream", "replay")),
    replace(BY_NAME["drift"], run=drift),
    BY_NAME["bad_release"],
    replace(BY_NAME["pages"], run=timeline),
)


def tour(shape: Shape, home: Path, first_port: int) -> None:
    """All stages on `shape`; what fails is an outcome, not an error."""
    data = home.parent / "data"
    data.mkdir(parents=True)
    shape.write(data)
    ports = {"BROKER": 0, "GATEWAY": 1, "MIXER_BASE": 2}
    os.environ.update({f"MIXER_{name}_PORT": str(first_port + place) for name, place in ports.items()})
    os.environ.update(MIXER_HOME=str(home), MIXER_DATASET="own", MIXER_DATA=str(data), MIXER_THREADS="1")
    get_settings.cache_clear()
    settings = apply_environment()
    platform, folder = Platform(settings), RunFolder(home / "runs" / "run-001")
    context = InThisProcess(settings, platform, folder, PLAN)
    display = Display([(stage.name, stage.title) for stage in SHORT_STAGES], shape.name, Console())
    patch = pytest.MonkeyPatch()  # never undone: this process ends with its tour
    shorten_training(patch, heavy_steps=20)
    patch.setattr(report, "REPORT_COLUMNS", 6)  # drawn by Evidently, where a tour draws thirty
    try:
        platform.start(processes.broker(settings))
        for stage in SHORT_STAGES:
            if stage.name in shape.stages:
                run_stage(stage, context, display)
    finally:
        platform.stop()


def _forked(shape: Shape, home: Path, first_port: int, registry: Path) -> None:
    """The child: its output goes to the log beside its home."""
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(registry, home / "mlflow" / registry.name)
    log = os.open(home.parent / "tour.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    start_forked_servers()
    try:
        tour(shape, home, first_port)
    except BaseException:
        traceback.print_exc()
        raise


def run_side_by_side(root: Path, names: Sequence[str]) -> subprocess.Popen:
    """Start the process that tours the named shapes; each one's files are in `root / name`."""
    first = free_range(SERVER_PORTS + PORTS_EACH * len(names))
    # Prefect reads where its server is when it is imported, which is before `main` runs.
    settings = Settings(home=root / "prefect", prefect_port=first)
    command = (sys.executable, "-m", __name__, str(root), *names)
    with (root / "all.log").open("ab") as log:
        return subprocess.Popen(command, env=settings.process_environment({}), stdout=log, stderr=log)


def make_registry(settings: Settings) -> Path:
    """An empty MLflow database: its hundred migrations are run once for all tours."""
    from mlflow import MlflowClient

    settings.paths.mlflow.mkdir(parents=True)
    MlflowClient(settings.tracking_uri).search_experiments()
    return settings.paths.mlflow / "mlflow.db"


@contextmanager
def prefect_server(settings: Settings) -> Iterator[None]:
    """One server for all tours, with a home of its own."""
    supervisor, spec = Supervisor(settings), processes.prefect_server(settings)
    supervisor.start(spec)
    try:
        for module in IMPORTED:  # while the server starts
            importlib.import_module(module)
        for name in OF_ONE_PROCESS:  # forked processes are none of its children
            os.environ.pop(name, None)
        supervisor.wait_ready(spec)
        yield
    finally:
        supervisor.stop_all()


def main(root: Path, *names: str) -> None:
    """Tour the named shapes, two at a time."""
    by_name = {shape.name: shape for shape in (*SHAPES, *EXAMPLE_SHAPES)}
    settings = get_settings()
    fork = multiprocessing.get_context("fork")

    def toured(place: int) -> None:
        first = settings.prefect_port + SERVER_PORTS + PORTS_EACH * place
        child = fork.Process(target=_forked, args=(by_name[names[place]], root / names[place] / "var", first, registry))
        child.start()
        child.join()

    with prefect_server(settings):
        registry = make_registry(settings)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(toured, range(len(names))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
