"""The demo's stages. Each calls a flow, or watches the platform do what it does by itself, and returns what it found.

A stage that was killed is run again: flows, replays and rollouts go on where they stopped. A stage for which there is too
little data is skipped, with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flows.demo import canaries, faults
from flows.demo.plan import Plan
from flows.demo.run_folder import Outcome, RunFolder
from flows.demo.traffic.asker import ReplayFailed
from flows.steps.apart import run_flow
from flows.steps.platform import Platform
from flows.steps.too_little import TooLittleData
from flows.training.limits import TrainingLimits
from infra.process_spec import ProcessFailed
from infra.settings import Settings

logger = logging.getLogger(__name__)

Output = dict[str, Any]
INGEST = "flows.ingest:ingest_flow"
VALIDATE = "flows.validate:validate_flow"
FEATURES = "flows.features:features_flow"
STREAM = "flows.stream:stream_flow"
TRAIN = "flows.train:train_flow"
RELEASE = "flows.release:release_flow"
REPLAY = "flows.replay:replay_flow"
DRIFT = "flows.drift:drift_flow"
# What those flows import only when they need it: a process that is prepared has it already.
DRIFT_IMPORTS = ("services.ranking.bundle", "mlflow", "evidently", "evidently.ui.workspace", "monitoring.drift.report")
TRAIN_IMPORTS = (
    *("flows.training.measured", "flows.training.fit", "feature_repo.stored_rows", "lightgbm", "mlflow"),
    "torch._dynamo",  # which every optimiser imports, in three seconds
)
FAILED_SHARE = 0.5  # of a replay's requests: where more were errors, nothing that follows means anything
WORDS = {"failed": "failed", "skipped": "was skipped", "left out": "was left out"}  # of a stage that has no result


@dataclass(frozen=True)
class Context:
    """What a stage may use."""

    settings: Settings
    platform: Platform
    folder: RunFolder
    plan: Plan

    def run_flow(self, target: str, **parameters: Any) -> Any:
        """The result of `module:flow`, run in a process of its own."""
        return run_flow(target, self.folder.log, **parameters)


@dataclass(frozen=True)
class Stage:
    """One stage: its name in files, its title on the display, what it runs, and its result in one line.

    `needs`: stages without whose result it can't run. `lacking` says what of its result is not as it should be, None if
    nothing. A stage that the data does not reach for raises TooLittleData; any other error is a failure.
    """

    name: str
    title: str
    run: Callable[[Context], Output]
    told: Callable[[Output], str]
    needs: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()  # the flow that it runs in a process of its own, and what that imports on the way
    lacking: Callable[[Output], str | None] = lambda found: None


def ingest(context: Context) -> Output:
    _find_or_fetch(context.settings)
    return context.run_flow(INGEST, hold_out=True)


def _find_or_fetch(settings: Settings) -> None:
    """`auto`: take KuaiRand where it is, else try to fetch it, else go on with the simulated world and say so."""
    from pathlib import Path

    from feature_repo.datasets.fetch import FetchError, fetch_kuairand
    from feature_repo.datasets.search_path import find_kuairand, find_own
    from flows.steps.progress import announce

    found = find_kuairand(settings) or find_own(settings)
    if settings.dataset != "auto" or found or settings.paths.lake.exists():
        return
    announce("KuaiRand is not on the search path: fetching it (CC BY-SA 4.0)")
    try:
        fetch_kuairand(Path("data"))
    except FetchError as error:
        announce(f"no download ({error}): going on with the simulated world")


def validate(context: Context) -> Output:
    return context.run_flow(VALIDATE)


def features(context: Context) -> Output:
    """All features except the stream worker's state, which stage `stream` seeds after the first page."""
    return context.run_flow(FEATURES, stream=False)


def stream(context: Context) -> Output:
    """The worker's state, and the worker on it: it is waited for, since a replay would take what its start takes."""
    found = context.run_flow(STREAM)
    context.platform.await_stream_worker()
    return found


def train(context: Context) -> Output:
    context.platform.start_serving(wait=False)  # the first release needs them as soon as there is a model
    return context.run_flow(TRAIN, limits=limits_of(context.plan.train))


def limits_of(limits: TrainingLimits | None) -> Output | None:
    """As JSON, which a flow's parameters travel as."""
    return None if limits is None else limits.model_dump()


def release(context: Context) -> Output:
    """Release 1: no live release yet, so readiness alone decides."""
    context.platform.start_serving()
    if context.plan.until is not None:
        _start_pages_early(context.platform)
    trained = context.folder.output("train")
    note = f"first release; learned from {trained['learned_from']}" if trained["sampled"] else "first release"
    found = context.run_flow(RELEASE, model="champion", note=note)
    return {**found, "page": context.platform.pages()["a timeline"]}


def _start_pages_early(platform: Platform) -> None:
    """For a tour that ends with the first release: its start leaves half of the CPU idle. Others need the memory first."""
    try:
        platform.start_pages(wait=False)
    except ProcessFailed as error:
        logger.warning("%s; a timeline needs no such page, so the tour goes on until its stage", error)


def replay(context: Context) -> Output:
    context.platform.start_serving()
    canaries.ensure_arms(context.settings)
    plan = context.plan
    found = context.run_flow(
        REPLAY,
        name="replay",
        visits=plan.replay_visits,
        most_events=plan.replay_events,
        slice_hours=plan.slice_hours,
    )
    if not found["requests"]:
        raise TooLittleData(f"not one request could be replayed: its {found['events']:,} events hold no dated impression")
    if found["errors"] > found["requests"] * FAILED_SHARE:
        raise ReplayFailed(errors_of(found))
    return found


def errors_of(found: Output) -> str | None:
    """How many requests were errors, with the first one's words; None without an error."""
    if not found["errors"]:
        return None
    return f"{found['errors']:,} of {found['requests']:,} requests were errors, the first: {found['first_error']}"


def drift(context: Context) -> Output:
    """The real days. Where they ask for a retraining, it is awaited here: the planted fault's must not run beside it."""
    began = datetime.now(UTC) - faults.CLOCK_SLACK
    found = context.run_flow(DRIFT, most_rows=context.plan.drift_rows)
    if not found["columns"]:
        raise TooLittleData(found["reasons"][0])
    if found["verdict"] == "retrain":
        found["retraining"] = faults.await_challenger(context.settings, began, planted=False)
    return found


def fault(context: Context) -> Output:
    check_drift = partial(context.run_flow, DRIFT, most_rows=context.plan.drift_rows)
    return faults.plant_and_await_retraining(context.settings, check_drift)


def canary(context: Context) -> Output:
    require_challenger(context.folder.output("fault"))
    context.platform.start_serving()
    return canaries.challenger_goes_live(context.settings, context.plan.canary_events)


def require_challenger(fault: Output) -> None:
    """Raises TooLittleData where the gate refused the retrained model."""
    if fault["challenger"] is None:
        raise TooLittleData(f"there is no challenger, since the gate refused it: {fault['refused']}")


def bad_release(context: Context) -> Output:
    context.platform.start_serving()
    return canaries.bad_release_is_rolled_back(context.settings, context.plan.canary_events)


def pages(context: Context) -> Output:
    """A real user's timeline with its explanations, and the pages up."""
    from flows.demo.timeline import example_timeline

    context.platform.start_serving()
    canaries.ensure_arms(context.settings)
    context.platform.start_pages(wait=False)
    timeline = example_timeline(context.settings)
    context.platform.start_pages()
    return {"at": datetime.now(UTC).isoformat(), "timeline": timeline}


def _validated(found: Output) -> str:
    tables = found["tables"].values()
    return f"{sum(t['quarantined'] for t in tables):,} rows quarantined by {sum(t['rules'] for t in tables)} rules"


def _ingested(found: Output) -> str:
    events = found["lake_events"] + found["holdout_events"]
    return f"{events:,} events, {found['posts']:,} posts, {found['users']:,} users from {found['label']}"


def _trained(found: Output) -> str:
    sampled = f"; learned from {found['learned_from']}" if found.get("sampled") else ""
    return f"champion is model version {found['model_version']}; {found['headline']}{sampled}"


def _first_released(found: Output) -> str:
    return f"{found['release']} is {found['state']}: a timeline is at {found['page']}"


def _seeded(found: Output) -> str:
    return f"goes on from {found['events']:,} events"


def _replayed(found: Output) -> str:
    return f"{found['requests']:,} requests, {found['events']:,} events, {found['errors']} errors"


def _drifted(found: Output) -> str:
    return f"{found['verdict']}: {found['reasons'][0]}"


def _retrained(found: Output) -> str:
    made = "no challenger" if found["challenger"] is None else f"model version {found['challenger']}"
    return f"{found['verdict']} ({found['planted']}); the automation's run made {made}"


def _gate_refused(found: Output) -> str | None:
    return None if found["challenger"] is not None else f"the gate refused the challenger: {found['refused']}"


def _undecided(found: Output) -> str | None:
    """Why a canary ended without a verdict, None where the judge gave one."""
    verdict = found["verdict"]
    return None if verdict is not None and verdict["decision"] != "inconclusive" else f"no verdict: {found['reason']}"


def _released(found: Output) -> str:
    return f"{found['release']} is {found['state']}: {found['reason']}"


def _timeline_lacks(found: Output) -> str | None:
    return None if found["timeline"]["posts"] else f"the page of user {found['timeline']['user_id']} is empty"


STAGES = (
    Stage("ingest", "ingest", ingest, _ingested, apart=(INGEST,)),
    Stage("validate", "validate", validate, _validated, needs=("ingest",), apart=(VALIDATE, "great_expectations")),
    Stage(
        "features",
        "features",
        features,
        lambda found: f"{sum(found['online'].values()):,} online rows, {found['as_of'][:16]} UTC",
        needs=("ingest", "validate"),
        apart=(FEATURES, "feature_repo.quick_feast", "feature_repo.offline", "feature_repo.snapshot"),
    ),
    Stage("train", "train", train, _trained, needs=("features",), apart=(TRAIN, *TRAIN_IMPORTS)),
    Stage("release", "release 1", release, _first_released, needs=("train",), apart=(RELEASE, "mlflow")),
    Stage(
        "stream", "stream worker", stream, _seeded, needs=("features",), apart=(STREAM, "feature_repo.aggregates.stream_worker")
    ),
    Stage(
        "replay",
        "replay as live traffic",
        replay,
        _replayed,
        needs=("release", "stream"),
        apart=(REPLAY,),
        lacking=errors_of,
    ),
    Stage("drift", "drift on real data", drift, _drifted, needs=("replay",), apart=(DRIFT, *DRIFT_IMPORTS)),
    Stage(
        "fault",
        "planted fault, retrain",
        fault,
        _retrained,
        needs=("replay",),
        apart=(DRIFT, *DRIFT_IMPORTS),
        lacking=_gate_refused,
    ),
    Stage("canary", "challenger's canary", canary, _released, needs=("fault",), lacking=_undecided),
    Stage("bad_release", "bad release", bad_release, _released, needs=("release", "stream")),
    Stage(
        "pages",
        "pages and a timeline",
        pages,
        lambda found: f"{len(found['timeline']['posts'])} posts for one user",
        needs=("release",),
        lacking=_timeline_lacks,
    ),
)


LAST = STAGES[-1].name  # always run: it shows what there is


def beyond(until: str | None) -> frozenset[str]:
    """The stages that a run leaves out which is to end after `until`; none without it. Raises ValueError for no stage."""
    names = [stage.name for stage in STAGES if stage.name != LAST]
    if until is None:
        return frozenset()
    if until not in names:
        raise ValueError(f"--until {until!r} names no stage: give one of {', '.join(names)}")
    left_out = set(names[names.index(until) + 1 :])
    if "features" not in left_out:  # once there are features, live events are to be applied
        left_out.discard("stream")
    return frozenset(left_out)


def unmet_need(stage: Stage, outcomes: Mapping[str, Outcome]) -> str | None:
    """Which stage that `stage` needs has no result, in words; None where it can run."""
    titles = {one.name: one.title for one in STAGES}
    for need in stage.needs:
        found = outcomes.get(need)
        if found is None or found.state not in ("done", "partly"):
            return f"it needs {titles[need]!r}, which {'was not run' if found is None else WORDS[found.state]}"
    return None
