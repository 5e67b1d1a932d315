"""The loop as the control room draws it: ten stages on a racetrack, each with what is known of it now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from infra.storage import Paths
from services.releases.chain import LedgerEntry
from services.releases.route import Route

ASKING = {"retrain": "retraining", "rollback": "rollback"}  # verdicts of a drift check that want something done, and what
StageState = Literal["done", "now", "waiting", "alarm"]

# Centres of the stages in a 1000 x 256 drawing: five from left to right above, five back below.
_PLACES = [(130.0 + 185 * i, 74.0) for i in range(5)] + [(870.0 - 185 * i, 184.0) for i in range(5)]


@dataclass(frozen=True)
class Stage:
    """One stage of the loop. `note` is a few words of fact."""

    label: str
    note: str
    state: StageState
    x: float
    y: float


def loop_stages(paths: Paths, route: Route, entries: list[LedgerEntry], drift: dict | None, asked: bool) -> list[Stage]:
    """What the files and the ledger say about each stage; reads names of files, never their rows."""
    waits = open_drift_verdict(paths.reports, drift, entries)
    built = len({entry.release_id for entry in entries})
    facts: list[tuple[str, str, StageState]] = [
        ("Ingest", *_ingest(paths.lake)),
        ("Validate", *_when(paths.reports / "data_docs" / "index.html", "Data Docs kept")),
        ("Features", *_features(paths.snapshots)),
        ("Train", *_trained(paths.reports / "training")),
        ("Register", f"{built} release{'s' if built != 1 else ''}" if built else "nothing yet", "done" if built else "waiting"),
        ("Release", "approval asked", "now") if asked else ("Release", *_newest_release(entries)),
        ("Serve", route.live or "nothing live", "done" if route.live else "alarm" if entries else "waiting"),
        ("Canary", *_canary(route, entries)),
        ("Drift", *_drift(drift, waits)),
        ("Retrain", "asked for by drift", "now") if waits == "retrain" else ("Retrain", "on schedule", "waiting"),
    ]
    return [Stage(label, note, state, x, y) for (label, note, state), (x, y) in zip(facts, _PLACES, strict=True)]


def _ingest(lake: Path) -> tuple[str, StageState]:
    days = sorted(folder.name.removeprefix("day=") for folder in lake.glob("events/day=*"))
    if not days:
        return "no events yet", "waiting"
    newest = date.fromisoformat(days[-1])
    return f"{len(days)} days, to {newest.day} {newest:%b}", "done"


def _features(snapshots: Path) -> tuple[str, StageState]:
    versions = [folder for folder in snapshots.glob("*/") if folder.is_dir()]
    return ("snapshot published", "done") if versions else ("no snapshot yet", "waiting")


def _trained(reports: Path) -> tuple[str, StageState]:
    n = sum(1 for _ in reports.glob("v*.json"))
    return (f"{n} model{'s' if n != 1 else ''} measured", "done") if n else ("nothing yet", "waiting")


def _when(file: Path, note: str) -> tuple[str, StageState]:
    return (note, "done") if file.is_file() else ("not yet", "waiting")


def _newest_release(entries: list[LedgerEntry]) -> tuple[str, StageState]:
    if not entries:
        return "nothing yet", "waiting"
    return {"rolled_back": "last: rolled back", "live": "last: went live"}.get(entries[-1].state, "under way"), "done"


def _canary(route: Route, entries: list[LedgerEntry]) -> tuple[str, StageState]:
    if route.canary is not None:
        return f"{route.canary_percent:g} % of users", "now"
    return ("idle", "done") if any(entry.state == "canary" for entry in entries) else ("none yet", "waiting")


def _drift(drift: dict | None, waits: str | None) -> tuple[str, StageState]:
    if drift is None or drift.get("verdict") is None:
        return "not checked yet", "waiting"
    if waits is None and drift["verdict"] in ASKING:
        return f"{drift['verdict']}: done since", "done"
    planted = " (planted)" if drift.get("planted") else ""
    return f"{drift['verdict']}{planted}", "alarm" if waits in ASKING else "done"


def latest_drift(reports: Path) -> dict | None:
    """The newest drift decision as its check wrote it; None where there is none, or where it is being written."""
    file = reports / "drift" / "latest.json"
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


def open_drift_verdict(reports: Path, drift: dict | None, entries: list[LedgerEntry]) -> str | None:
    """What the newest drift check says (`warn`) or asks for (`retrain`, `rollback`), unless it was done since; else None."""
    verdict = (drift or {}).get("verdict")
    if verdict not in ASKING:
        return "warn" if verdict == "warn" else None
    asked = (reports / "drift" / "latest.json").stat().st_mtime
    if verdict == "retrain":
        answers = [file.stat().st_mtime for file in (reports / "training").glob("v*.json")]
    else:
        answers = [datetime.fromisoformat(entry.at).timestamp() for entry in entries if entry.state == "rolled_back"]
    return None if any(answer > asked for answer in answers) else str(verdict)
