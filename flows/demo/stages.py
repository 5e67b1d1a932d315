"""The demo's stages. Each calls a flow, or watches the platform do what it does by itself, and returns what it found.

A stage that was killed is run again: flows, replays and rollouts go on where they stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flows.demo import canaries, faults
from flows.demo.apart import run_flow
from flows.demo.run_folder import RunFolder
from flows.platform import Platform
from infra import processes
from infra.settings import Settings

Output = dict[str, Any]
DRIFT = "flows.drift:drift_flow"


@dataclass(frozen=True)
class Context:
    """What a stage may use."""

    settings: Settings
    platform: Platform
    folder: RunFolder

    def run_flow(self, target: str, **parameters: Any) -> Any:
        """The result of `module:flow`, run in a process of its own."""
        return run_flow(target, self.folder.log, **parameters)


@dataclass(frozen=True)
class Stage:
    """One stage: its name in files, its title on the display, what it runs, and its result in one line."""

    name: str
    title: str
    run: Callable[[Context], Output]
    told: Callable[[Output], str]


def ingest(context: Context) -> Output:
    _find_or_fetch(context.settings)
    return context.run_flow("flows.ingest:ingest_flow", hold_out=True)


def _find_or_fetch(settings: Settings) -> None:
    """`auto`: take KuaiRand where it is, else try to fetch it, else go on with the simulated world and say so."""
    from pathlib import Path

    from feature_repo.datasets.fetch import FetchError, fetch_kuairand
    from feature_repo.datasets.search_path import find_kuairand, find_own_tables
    from flows.progress import announce

    found = find_kuairand(settings) or find_own_tables(settings)
    if settings.dataset != "auto" or found or settings.paths.lake.exists():
        return
    announce("KuaiRand is not on the search path: fetching it (CC BY-SA 4.0)")
    try:
        fetch_kuairand(Path("data"))
    except FetchError as error:
        announce(f"no download ({error}): going on with the simulated world")


def validate(context: Context) -> Output:
    return context.run_flow("flows.validate:validate_flow")


def features(context: Context) -> Output:
    context.platform.supervisor.stop("stream-worker")  # its state is seeded anew here
    return context.run_flow("flows.features:features_flow")


def train(context: Context) -> Output:
    return context.run_flow("flows.train:train_flow")


def release(context: Context) -> Output:
    """Release 1: no live release yet, so readiness alone decides."""
    context.platform.start_serving()
    return context.run_flow("flows.release:release_flow", model="champion", note="first release")


def replay(context: Context) -> Output:
    context.platform.start_serving()
    canaries.ensure_arms(context.settings)
    return context.run_flow("flows.replay:replay_flow", name="replay")


def drift(context: Context) -> Output:
    return context.run_flow(DRIFT)


def fault(context: Context) -> Output:
    return faults.plant_and_await_retraining(context.settings, partial(context.run_flow, DRIFT))


def canary(context: Context) -> Output:
    context.platform.start_serving()
    return canaries.challenger_goes_live(context.settings)


def bad_release(context: Context) -> Output:
    context.platform.start_serving()
    return canaries.bad_release_is_rolled_back(context.settings)


def pages(context: Context) -> Output:
    """A real user's timeline with its explanations, and the pages up."""
    from flows.demo.timeline import example_timeline

    context.platform.start_serving()
    canaries.ensure_arms(context.settings)
    context.platform.start(processes.mlflow_page(context.settings), wait=False)
    context.platform.start(processes.evidently_page(context.settings), wait=False)
    timeline = example_timeline(context.settings)
    context.platform.start_pages()
    return {"at": datetime.now(UTC).isoformat(), "timeline": timeline}


def _validated(found: Output) -> str:
    tables = found["tables"].values()
    return f"{sum(t['quarantined'] for t in tables):,} rows quarantined by {sum(t['rules'] for t in tables)} rules"


def _ingested(found: Output) -> str:
    events = found["lake_events"] + found["holdout_events"]
    return f"{events:,} events, {found['posts']:,} posts, {found['users']:,} users from {found['label']}"


def _replayed(found: Output) -> str:
    return f"{found['requests']:,} requests, {found['events']:,} events, {found['errors']} errors"


def _drifted(found: Output) -> str:
    return f"{found['verdict']}: {found['reasons'][0]}"


def _retrained(found: Output) -> str:
    return f"{found['verdict']} ({found['planted']}); the automation's run made model version {found['challenger']}"


def _released(found: Output) -> str:
    return f"{found['release']} is {found['state']}: {found['reason']}"


STAGES = (
    Stage("ingest", "ingest", ingest, _ingested),
    Stage("validate", "validate", validate, _validated),
    Stage(
        "features",
        "features",
        features,
        lambda found: f"{sum(found['online'].values()):,} online rows, {found['as_of'][:16]} UTC",
    ),
    Stage("train", "train", train, lambda found: f"champion is model version {found['model_version']}; {found['headline']}"),
    Stage("release", "release 1", release, _released),
    Stage("replay", "replay as live traffic", replay, _replayed),
    Stage("drift", "drift on real data", drift, _drifted),
    Stage("fault", "planted fault, retrain", fault, _retrained),
    Stage("canary", "challenger's canary", canary, _released),
    Stage("bad_release", "bad release", bad_release, _released),
    Stage("pages", "pages and a timeline", pages, lambda found: f"{len(found['timeline']['posts'])} posts for one user"),
)
