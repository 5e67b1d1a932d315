"""What the demo found: `summary.json`, and the page of text that a person reads at the end."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flows.demo.run_folder import RunFolder
from flows.lakes import dataset_marker
from flows.platform import Platform
from flows.training.compare import COLUMNS, SHOWN_HEADS
from infra.settings import Settings
from services.gateway.ledger import Ledger

VERDICT_STYLE = {"ok": "green", "warn": "yellow", "retrain": "red", "rollback": "red"}


def build_summary(
    settings: Settings, platform: Platform, folder: RunFolder, peak_mb: float, elapsed_s: float
) -> dict[str, Any]:
    """Everything in JSON: figures by stage, the ledger, pages, time and memory."""
    outputs = folder.outputs()
    ledger = Ledger(settings.platform_database_url)
    live = ledger.route().live
    seconds = folder.seconds()
    return {
        "run": folder.name,
        "dataset": {key: dataset_marker(settings)[key] for key in ("name", "label", "simulated", "fingerprint")},
        **{name: output for name, output in outputs.items() if name != "pages"},
        "timeline": outputs["pages"]["timeline"],
        "live_release": {
            "release": live,
            "model_version": None if live is None else ledger.manifest(live).model_version,
            "why": [entry.reason for entry in ledger.entries() if entry.release_id == live][-1] if live else None,
        },
        "ledger": {
            "verified": ledger.verify() == [],
            "entries": [
                {"seq": e.seq, "at": e.at, "release": e.release_id, "state": str(e.state), "who": e.actor, "why": e.reason}
                for e in ledger.entries()
            ],
        },
        "pages": platform.pages(),
        "cost": {
            "seconds_this_invocation": round(elapsed_s, 1),
            "seconds_of_all_stages": round(sum(seconds.values()), 1),
            "seconds_by_stage": seconds,
            "peak_memory_mb": round(peak_mb),
            "memory_measure": "proportional set size (PSS) of the demo and every process of the platform, sampled",
        },
    }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """The summary as a person reads it."""
    simulated = " [bold yellow](simulated)[/]" if summary["dataset"]["simulated"] else ""
    console.rule(f"Home Mixer, {summary['run']}: {summary['dataset']['label']}{simulated}")
    console.print(_facts(summary))
    console.print(offline_table(summary["train"]))
    console.print(_drift(summary))
    console.print(_ledger(summary))
    console.print(_timeline(summary["timeline"]))
    pages = Table.grid(padding=(0, 2))
    for name, address in summary["pages"].items():
        pages.add_row(name, address)
    console.print(Panel(pages, title="where to look", title_align="left"))
    cost = summary["cost"]
    console.print(
        f"{cost['seconds_of_all_stages']:.0f} s for all stages, peak memory {cost['peak_memory_mb'] / 1000:.1f} GB",
        highlight=False,
    )


def _facts(summary: dict[str, Any]) -> Table:
    ingest, validate, replay = summary["ingest"], summary["validate"], summary["replay"]
    live = summary["live_release"]
    tables = validate["tables"]
    broken = {f"{name}.{rule}": n for name, table in tables.items() for rule, n in table["broken_rows"].items()}
    events = ingest["lake_events"] + ingest["holdout_events"]
    kept = " (kept from before)" if ingest["skipped"] else ""
    quarantined = sum(table["quarantined"] for table in tables.values())
    latency = ", ".join(f"{name} {value} ms" for name, value in replay.get("latency_ms", {}).items())
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_row("ingested", f"{events:,} events, {ingest['posts']:,} posts, {ingest['users']:,} users{kept}")
    grid.add_row("failed validation", f"{quarantined:,} rows quarantined; rows by broken rule: {broken or 'none'}")
    grid.add_row(
        "replayed", f"{replay['requests']:,} requests, {replay['events']:,} events, {replay['errors']} errors; {latency}"
    )
    grid.add_row("live", f"{live['release']} (model version {live['model_version']}): {live['why']}")
    return grid


def offline_table(train: dict[str, Any]) -> Table:
    """Offline metrics of all models on the test days."""
    table = Table(
        title=f"offline, test days {train['test_days'][0]} to {train['test_days'][-1]} ({train['test_rows']:,} rows)",
        title_justify="left",
    )
    table.add_column("model")
    table.add_column("head")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for model, heads in train["metrics"].items():
        for head in SHOWN_HEADS:
            if head in heads:
                cells = [heads[head].get(column) for column in COLUMNS]
                table.add_row(model, head, *("-" if cell is None else f"{cell:.4f}" for cell in cells))
    return table


def _drift(summary: dict[str, Any]) -> Panel:
    lines = []
    for name, found in (("real data", summary["drift"]), (summary["fault"]["planted"], summary["fault"])):
        lines.append(Text(f"{name}: {found['verdict']}", style=VERDICT_STYLE.get(found["verdict"], "")))
        lines += [Text(f"  {reason}", style="dim") for reason in found["reasons"][:3]]
    run = summary["fault"]["flow_run"]
    lines.append(Text(f"retrain run {run['name']!r} was created by the automation {run['created_by']!r}"))
    return Panel(Group(*lines), title="drift", title_align="left")


def _ledger(summary: dict[str, Any]) -> Table:
    verified = "every hash and link holds" if summary["ledger"]["verified"] else "DOES NOT VERIFY"
    table = Table(title=f"release ledger ({verified})", title_justify="left")
    for column in ("at", "release", "state", "who", "why"):
        table.add_column(column)
    for entry in summary["ledger"]["entries"]:
        table.add_row(entry["at"][11:19], entry["release"], entry["state"], entry["who"], entry["why"])
    return table


def _timeline(timeline: dict[str, Any]) -> Table:
    table = Table(
        title=f"For You of user {timeline['user_id']} as of {timeline['as_of'][:16]} UTC, release {timeline['release']}",
        title_justify="left",
    )
    for column in ("#", "post", "author", "score", "source", "why shown"):
        table.add_column(column)
    for place, post in enumerate(timeline["posts"], 1):
        table.add_row(
            str(place), str(post["post_id"]), str(post["author_id"]), f"{post['score']:.3f}", post["source"], post["reason"]
        )
    return table
