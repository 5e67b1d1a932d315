"""From a dataset to a live release 1: ingest, validate, features, train, release, stream, each a flow in a process of its own.

What is done is not done again, so a start that was broken off goes on. Nothing of the data is held out, as a tour does it:
the newest days are lived through, and what users do from now on comes after them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from feature_repo.aggregates.stream_seeded import is_seeded
from feature_repo.snapshot import current_version
from flows.cli.step_progress import StepProgress
from flows.steps.apart import run_flow
from flows.steps.platform import Platform
from flows.steps.progress import listening
from flows.training.limits import TrainingLimits
from infra.settings import Settings
from services.releases.ledger import Ledger

# A first page soon is worth more than the last user; the scheduled training learns from all of them.
LIMITS = TrainingLimits(seconds=90, judged_rows=50_000, epochs=2, members=1, teacher_share=0, ensemble=False, slates=60)


@dataclass(frozen=True)
class Step:
    """One flow on the way. `done` tells from what is stored whether it has nothing to do."""

    title: str
    target: str
    done: Callable[[Settings], bool]
    told: Callable[[dict[str, Any]], str]
    parameters: dict[str, Any] = field(default_factory=dict)


class TakenDown(RuntimeError):
    """Somebody took the platform down while it was being started."""


def make_first_release(platform: Platform, out: Console, *, full: bool = False) -> bool:
    """Take the platform's dataset to a live release, with a line a step; returns whether there was anything to do.

    full: learn from all of the data. Raises FlowFailed, TooLittleData where the data does not reach for a step, and TakenDown.
    """
    settings = platform.settings
    if _is_live(settings):
        out.print("a release is live already; nothing to make")
        return False
    settings.paths.logs.mkdir(parents=True, exist_ok=True)
    for step in _steps(settings, full):
        if step.done(settings):
            out.print(f"[green]✓[/] {step.title}: done before", highlight=False)
            continue
        _run(step, settings, out)
        if not platform.is_wanted():
            platform.stop()  # what the step has started since
            raise TakenDown("the platform was taken down meanwhile, so the start ends here; `mixer start` goes on with it")
    return True


def _run(step: Step, settings: Settings, out: Console) -> None:
    began = time.monotonic()
    with StepProgress(step.title, out) as progress, listening(progress.tell):
        found = run_flow(step.target, settings.paths.logs / "start.log", **step.parameters)
    out.print(f"[green]✓[/] {step.title} ({time.monotonic() - began:.0f} s) {step.told(found)}", highlight=False)


def _steps(settings: Settings, full: bool) -> tuple[Step, ...]:
    limits = None if full else LIMITS.model_dump()
    return (
        Step(
            "ingest",
            "flows.ingest:ingest_flow",
            lambda settings: False,  # it knows by itself what of the files is new
            lambda found: f"{sum(found['rows_per_day'].values()):,} events from {found['label']}",
        ),
        Step(
            "validate",
            "flows.validate:validate_flow",
            lambda settings: False,
            lambda found: f"{sum(table['quarantined'] for table in found['tables'].values()):,} rows quarantined",
        ),
        Step(
            "features",
            "flows.features:features_flow",
            lambda settings: current_version(settings) is not None,
            lambda found: "snapshot published",
            {"stream": False},  # it takes its time, and no page needs it
        ),
        Step(
            "train",
            "flows.train:train_flow",
            _has_champion,
            lambda found: f"model version {found['model_version']} learned from {found['learned_from']}",
            {"limits": limits},
        ),
        Step(
            "release",
            "flows.release:release_flow",
            _is_live,
            lambda found: f"{found['release']} is {found['state']}: {settings.gateway_url}/timeline",
            {"model": "champion", "note": "first release"},
        ),
        Step(
            "stream",
            "flows.stream:stream_flow",
            is_seeded,
            lambda found: "live events go on from the log",
        ),
    )


def _is_live(settings: Settings) -> bool:
    return Ledger(settings.platform_database_url).route().live is not None


def _has_champion(settings: Settings) -> bool:
    from flows.training.registry import CHAMPION, resolve

    return resolve(settings, CHAMPION) is not None
