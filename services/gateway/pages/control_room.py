"""The control room: what is live and why, how the canary does, what waits for a person, and the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name, with_own_names
from monitoring.canary.policy import policy_of
from monitoring.canary.verdict import verdict_in
from services.gateway.admin import carry_out
from services.gateway.bodies import body_of
from services.gateway.door import Door
from services.gateway.errors import DoorError
from services.gateway.pages.alerts import alerts_view
from services.gateway.pages.canary_view import canary_view
from services.gateway.pages.charts import area, binned, interval_bar
from services.gateway.pages.headline import headline
from services.gateway.pages.loop import ASKING, latest_drift, loop_stages, open_drift_verdict
from services.gateway.pages.rendering import page
from services.releases.decisions import ACTIONS
from services.releases.handover import why_no_return
from services.releases.ledger import ReleaseSummary
from services.releases.published_heads import PublishedHeads
from services.releases.states import ReleaseState

LEDGER_SHOWN = 40  # newest entries on the page; the chain is verified over all
DRIFT_COLUMNS_SHOWN = 8
PROCESS_EVENTS_SHOWN = 12
_REPORT_PAGES = (
    ("Feature quality", "feature_quality", "nulls, ranges, drift, importance"),
    ("Consistency", "consistency", "served features against the lake"),
    ("Data Docs", "data_docs", "what failed validation"),
)
_ARM_ORDER = {"live": 0, "canary": 1, "standby": 2, "former": 3}


async def show(request: Request) -> Response:
    """GET /?canary=<release id>."""
    door: Door = request.app.state.door
    chosen = request.query_params.get("canary")
    return page("control_room.html", await asyncio.to_thread(_context, door, chosen, "", request.query_params.get("done", "")))


async def decide_by_form(request: Request) -> Response:
    """POST /releases/{release_id}/decision: the forms of the page. The token is asked each time and kept nowhere."""
    door: Door = request.app.state.door
    release_id, form = request.path_params["release_id"], {}
    try:
        sent = (await body_of(request)).decode(errors="replace")
        form = {name: values[-1] for name, values in parse_qs(sent, max_num_fields=10).items()}
        action = form.get("action", "")
        if action not in ACTIONS:
            raise DoorError(404, "unknown_action", f"no action {action[:40]!r}", f"use one of {', '.join(ACTIONS)}")
        token, what = form.get("token", ""), f"{action} {release_id}"
        person = await asyncio.to_thread(door.gatekeeper.let_in, token, action, what)
        actor = person or form.get("actor", "")
        await asyncio.to_thread(carry_out, door, release_id, action, actor, form.get("reason", ""))
    except DoorError as error:
        said = f"{error.message} – {error.remedy}"
        return page("control_room.html", await asyncio.to_thread(_context, door, None, said, ""), error.status)
    await door.pool.refresh()
    return RedirectResponse(f"/?done={action}", 303)


def _context(door: Door, chosen: str | None, problem: str, done: str) -> dict[str, Any]:
    entries, route, paths = door.ledger.entries(), door.ledger.route(), door.settings.paths
    pending, drift = door.approvals.pending(), latest_drift(paths.reports)
    releases = door.ledger.releases()
    canaried = list(dict.fromkeys(entry.release_id for entry in entries if entry.state is ReleaseState.CANARY))
    shown = chosen if chosen in canaried else (canaried[-1] if canaried else None)
    live = next((release for release in releases if release.release_id == route.live), None)
    alerts, looping = alerts_view(door), door.processes.looping()
    failover = door.pool.standby if door.pool.failover else None
    waits = open_drift_verdict(paths.reports, drift, entries)
    answered = drift["verdict"] if drift and waits is None and drift.get("verdict") in ASKING else None
    traffic = _traffic(door)
    ledger_problems = door.ledger.verify(PublishedHeads(paths.releases))
    return {
        "page": "room",
        "problem": problem,
        "done": done if done in ACTIONS else "",
        "headline": headline(
            route,
            any_entry=bool(entries),
            failover=failover,
            looping=looping,
            firing=[state for state in alerts.states if state.firing],
            pending=pending,
            ledger_broken=bool(ledger_problems),
            failed=(sum(row["numbers"].errors for row in traffic), sum(row["numbers"].requests for row in traffic)),
            drift=waits,
            drift_answered=answered,
        ),
        "failover": failover,
        "looping": looping,
        "process_events": door.processes.newest(PROCESS_EVENTS_SHOWN),
        "route": route,
        "live": live,
        "no_return": _no_return(door, route.live, releases),
        "stages": loop_stages(paths, route, entries, drift, bool(pending)),
        "canary": canary_view(door, shown, entries, route) if shown else None,
        "canaried": canaried,
        "pending": [(approval, verdict_in(approval.evidence)) for approval in pending],
        "interval_bar": interval_bar,
        "policy": policy_of(door.settings.judge_policy),
        "traffic": traffic,
        "shadow": door.shadow,
        "alerts": alerts,
        "drift": drift,
        "drift_answered": ASKING.get(answered),
        "drift_columns": _drift_columns(drift, slots_by_name(IdTable(door.settings.platform_database_url))),
        "releases": list(reversed(releases)),
        "arms": door.pool.arms,
        "entries": list(reversed(entries))[:LEDGER_SHOWN],
        "entry_count": len(entries),
        "ledger_problems": ledger_problems,
        "dataset": _dataset(paths.lake),
        "links": _links(door, drift),
    }


def _no_return(door: Door, live: str | None, releases: list[ReleaseSummary]) -> str | None:
    """Why a rollback of the live release would be refused, in one sentence; None where it would not."""
    if live is None:
        return None
    standby = door.ledger.standby()
    arm = door.pool.arms.get(standby or "")
    problem = None if arm is None or arm.healthy else arm.last_error or "no reason given"
    return why_no_return(live, standby, releases, problem)


def _traffic(door: Door) -> list[dict[str, Any]]:
    arms = {arm: door.traffic.of(arm) for arm in sorted(door.traffic.arms(), key=lambda arm: _ARM_ORDER.get(arm, 9))}
    curves = {arm: binned(traffic.per_second) for arm, traffic in arms.items()}
    top = max((max(curve) for curve in curves.values()), default=0.0)
    return [{"arm": arm, "numbers": arms[arm], "path": area(curves[arm], top), "peak": max(curves[arm])} for arm in arms]


def _drift_columns(drift: dict | None, own_actions: Mapping[str, str]) -> list[dict[str, Any]]:
    """The columns that moved most, with a bar of their PSI; own actions go by their names."""
    columns = [column for column in (drift or {}).get("columns", []) if isinstance(column.get("psi"), int | float)]
    moved = sorted(columns, key=lambda column: -column["psi"])[:DRIFT_COLUMNS_SHOWN]
    return [{**column, "name": with_own_names(str(column.get("name", "")), own_actions)} for column in moved]


def _dataset(lake: Path) -> str | None:
    from feature_repo.lake import Lake

    marker = Lake(lake).marker("dataset")
    return None if marker is None else str(marker.get("label") or marker.get("name"))


def _links(door: Door, drift: dict | None) -> list[tuple[str, str, str]]:
    """Name, address and what is there; reports only once they are written."""
    settings, reports = door.settings, door.settings.paths.reports
    local = [("API", "/docs", "endpoints with examples"), ("Metrics", "/metrics", "for Prometheus")]
    drift_page = str((drift or {}).get("report") or "")
    if drift_page and (reports / "drift" / drift_page).is_file():
        local.insert(0, ("Drift report", f"/reports/drift/{quote(drift_page)}", "the columns, drawn"))
    for name, folder, what in _REPORT_PAGES:
        if (reports / folder / "index.html").is_file():
            local.insert(0, (name, f"/reports/{folder}/index.html", what))
    others = [
        ("Prefect", settings.prefect_port, "flows and schedules"),
        ("MLflow", settings.mlflow_port, "runs and models"),
        ("Evidently", settings.evidently_port, "drift over time"),
    ]
    return local + [(name, f"http://{settings.host}:{port}", what) for name, port, what in others]
