"""The demo's two canaries: the challenger that goes live, and the bad release that must not.

Their visitors are those of the same replayed days, or the people of the simulated world.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import polars as pl

from flows.demo.canary_traffic import LivingTraffic, ReplayedTraffic, TrafficFailed, TrafficSpent, is_simulated
from flows.demo.traffic.visits import first_of
from flows.steps.admin_client import answer
from flows.steps.lakes import open_lakes, split_days, splits_of, within
from flows.steps.progress import announce
from flows.steps.too_little import TooLittleData
from infra.settings import Settings
from services.releases.approvals import Approvals
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState

STEP_TIMEOUT_S = 1200.0  # the canary ends earlier where its traffic is spent; this is for a very slow machine
MIN_USERS = 200  # in each arm, before the judge may promote
# One step at half the users: eleven days of logs hold too few visits for the default 1, 5, 25, 50.
REPLAYED = {"ramp": [50], "min_users": MIN_USERS, "wait_s": 60.0}
# The world's people come as long as they are wanted, so the default ramp is taken; a hundredth of them is a handful.
LIVING = {"ramp": None, "min_users": 4, "wait_s": 60.0}
# Days pass in seconds: no warm-up, a look a second, and little waiting for what so few users will hardly show.
HASTE = {"warm_up_s": 0.0, "look_every_s": 1.0}
LEAST_USERS = 2 * MIN_USERS  # of the canary days: half of them meet each release
LEAST_USERS_TO_ROLL_BACK = 100
DECIDED = (ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.ROLLED_BACK)
APPROVER = "demo (standing in for a person)"


def ensure_arms(settings: Settings) -> None:
    """Bring back the mixers of the route, after a kill or a `make down`."""
    from flows.reconcile import reconcile_flow

    reconcile_flow()


def challenger_goes_live(settings: Settings, most_events: int | None = None) -> dict[str, Any]:
    """The challenger's whole way, with replayed traffic beside it and a person's answer by the same API.

    most_events: of the canary days only the first so many are replayed, for both canaries together.
    Raises TooLittleData where the canary days hold too few users, or were not enough for a verdict.
    """
    if not is_simulated(settings):
        require_users(canary_users(settings, most_events), LEAST_USERS, "to promote a release")
    ensure_arms(settings)
    return _canary(settings, "challenger", "retrained after the planted drift", approve=True, most_events=most_events)


def canary_users(settings: Settings, most_events: int | None = None) -> int:
    """Users with an exposure among the first `most_events` of the canary days."""
    _, holdout = open_lakes(settings)
    days = list(split_days(settings)[2])
    if not days:
        return 0
    events = within(holdout.scan_events(days), splits_of(settings).canary)
    found = events.select("occurred_at", "user_id", "action").collect()
    found = found if most_events is None else first_of(found, most_events)
    return found.filter(pl.col("action") == "impression")["user_id"].n_unique()


def require_users(users: int, least: int, what: str) -> None:
    """Raises TooLittleData where `users` of the canary days are fewer than `least`."""
    if users == 0:
        raise TooLittleData("there are no canary days: the log ends before them; a longer log is needed")
    if users < least:
        raise TooLittleData(
            f"too few users for a canary: {users:,} on the canary days, and the judge needs about {least:,} {what}"
        )


def bad_release_is_rolled_back(settings: Settings, most_events: int | None = None) -> dict[str, Any]:
    """A release whose scores are negated on purpose; the judge must take it out without a person.

    most_events and TooLittleData: as in `challenger_goes_live`.
    """
    if not is_simulated(settings):
        require_users(canary_users(settings, most_events), LEAST_USERS_TO_ROLL_BACK, "to roll a release back")
    from flows.training.registered_versions import register_negated

    ensure_arms(settings)
    version = register_negated(settings, "champion")
    note = "deliberately bad: its scores are negated"
    outcome = _canary(settings, version, note, approve=False, most_events=most_events)
    if outcome["state"] != ReleaseState.ROLLED_BACK or outcome["verdict"]["decision"] != "rollback":
        raise RuntimeError(
            f"the deliberately bad release {outcome['release']} ended {outcome['state']}, but not by the judge's verdict: "
            + outcome["reason"]
        )
    return outcome


def _canary(settings: Settings, model: str, note: str, *, approve: bool, most_events: int | None) -> dict[str, Any]:
    from prefect.deployments import run_deployment

    from flows.training.registered_versions import version_of

    ledger, approvals = Ledger(settings.platform_database_url), Approvals(settings.platform_database_url)
    version = version_of(settings, model)
    decided = decided_release(ledger, version)
    if decided is not None:
        return _outcome(ledger, decided, None)
    simulated = is_simulated(settings)
    visitors = LIVING if simulated else REPLAYED
    parameters = {"model": model, "note": note, "step_timeout_s": STEP_TIMEOUT_S, **visitors, **HASTE}
    run = run_deployment("release/release", parameters=parameters, timeout=0, as_subflow=False)
    announce(f"flow run {run.name!r} takes {model} along on the worker")
    release_id = _await_release(ledger, run.id, version)
    kind = LivingTraffic if simulated else ReplayedTraffic
    traffic = kind(settings, ledger, release_id, most_events)
    try:
        while not _ended(ledger, release_id):
            if ledger.state(release_id) is ReleaseState.CANARY and not traffic.started:
                traffic.start()
            if approve and any(question.release_id == release_id for question in approvals.pending()):
                _approve(settings, release_id)
            _raise_if_failed(run.id)
            traffic.raise_error()
            if (spent := traffic.spent()) is not None:
                raise spent
            time.sleep(0.3)
    except (TrafficSpent, TrafficFailed) as error:
        _give_up(ledger, release_id, str(error))
        _await_finish(settings, ledger, release_id)
        raise
    except BaseException:
        traffic.abandon()
        raise
    report = traffic.finish()
    _await_finish(settings, ledger, release_id)
    return _outcome(ledger, release_id, report)


def _give_up(ledger: Ledger, release_id: str, reason: str) -> None:
    """Take the undecided canary out, so that another release may follow."""
    if not _ended(ledger, release_id):
        evidence = {"decision": "inconclusive"}
        ledger.transition(release_id, ReleaseState.ROLLED_BACK, "demo", f"no verdict: {reason}", evidence=evidence)


def decided_release(ledger: Ledger, version: str) -> str | None:
    """The newest release of model `version` that has met its end: by a run of the stage that was killed before it said so.

    A canary that was given up for want of a verdict (its traffic broke off) decided nothing: the stage tries again.
    """
    given_up = {one.release_id for one in ledger.entries() if one.evidence.get("decision") == "inconclusive"}
    ended = [one.release_id for one in ledger.releases() if one.manifest.model_version == version and one.state in DECIDED]
    decided = [release_id for release_id in ended if release_id not in given_up]
    return decided[-1] if decided else None


def _await_release(ledger: Ledger, run_id: Any, version: str) -> str:
    """The release that the flow run works on, once its bento is built and it is in the ledger."""

    def found() -> str | None:
        mine = [one for one in ledger.releases() if one.manifest.model_version == version]
        return mine[-1].release_id if mine else None

    return _await(found, run_id, f"a release of model version {version}")


def _await(ask: Callable[[], str | None], run_id: Any, what: str, timeout_s: float = 600.0) -> str:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer_ = ask()
        if answer_ is not None:
            return answer_
        _raise_if_failed(run_id)
        time.sleep(0.5)
    raise RuntimeError(f"{what} did not come within {timeout_s:.0f} s; see the Prefect worker's log")


def _approve(settings: Settings, release_id: str) -> None:
    announce(f"{release_id}: approved by the demo through the gateway's API, as a person would")
    answer(settings, "approve", release_id, APPROVER, "the judge's intervals show no harm; approved by the demo itself")


def _ended(ledger: Ledger, release_id: str) -> bool:
    return ledger.state(release_id) in DECIDED


def _flow_state(run_id: Any) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id).state


def _raise_if_failed(run_id: Any) -> None:
    state = _flow_state(run_id)
    if state.is_failed() or state.is_crashed() or state.is_cancelled():
        raise RuntimeError(f"the release flow ended {state.name}: {state.message}; see the Prefect worker's log")


def _await_finish(settings: Settings, ledger: Ledger, release_id: str, timeout_s: float = 180.0) -> None:
    """Wait until the flow that the release's end starts has crowned a live release's model and stopped a bad one's process."""
    from flows.training.registered_versions import version_of
    from flows.training.registry import CHAMPION

    deadline, version = time.monotonic() + timeout_s, ledger.manifest(release_id).model_version
    while True:
        if ledger.state(release_id) is ReleaseState.LIVE:
            finished = version_of(settings, CHAMPION) == version
        else:
            finished = release_id not in ledger.arms()
        if finished:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"flow release_ended has not run within {timeout_s:.0f} s after {release_id} had ended; see the controller's "
                "and the Prefect worker's log"
            )
        time.sleep(0.5)


def _outcome(ledger: Ledger, release_id: str, traffic: dict[str, Any] | None) -> dict[str, Any]:
    entries = [entry for entry in ledger.entries() if entry.release_id == release_id]
    last = entries[-1]
    judged = [entry.evidence for entry in entries if "metrics" in entry.evidence]
    return {
        "release": release_id,
        "state": str(last.state),
        "reason": last.reason,
        "actor": last.actor,
        "verdict": judged[-1] if judged else None,
        "history": [{"at": entry.at, "state": str(entry.state), "who": entry.actor, "why": entry.reason} for entry in entries],
        "traffic": traffic,
    }
