"""What the demo found: `summary.json`, and the page of text that a person reads at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name, with_own_names
from flows.demo.run_folder import Outcome, RunFolder
from flows.demo.stages import STAGES
from flows.steps.lakes import NothingIngested, dataset_marker
from flows.steps.platform import Platform
from flows.training.compare import COLUMNS, LEAST_JUDGED
from infra.settings import Settings
from services.releases.ledger import Ledger
from services.releases.published_heads import PublishedHeads

SHOWN = 4  # heads in the table of models
NOTE_STYLE = {"failed": "bold red", "partly": "bold yellow", "skipped": "yellow", "simulated": "bold yellow"}
VERDICT_STYLE = {"ok": "green", "warn": "yellow", "retrain": "red", "rollback": "red"}


def build_summary(
    settings: Settings, platform: Platform, folder: RunFolder, peak_mb: float, elapsed_s: float
) -> dict[str, Any]:
    """Everything in JSON: what became of each stage, its figures, the ledger, pages, time and memory.

    A stage without a result is under `stages` alone, with its reason.
    """
    outputs, outcomes = folder.outputs(), folder.outcomes()
    ledger = Ledger(settings.platform_database_url)
    live = ledger.route().live
    seconds = folder.seconds()
    return {
        "run": folder.name,
        "plan": folder.plan,
        "dataset": _dataset(settings),
        "own_actions": slots_by_name(IdTable(settings.platform_database_url)),
        "stages": {
            name: {"state": outcome.state, "reason": outcome.reason, "seconds": outcome.seconds}
            for name, outcome in outcomes.items()
        },
        "notes": notes(settings, outcomes),
        **{name: output for name, output in outputs.items() if name != "pages"},
        "timeline": outputs["pages"]["timeline"] if "pages" in outputs else None,
        "live_release": {
            "release": live,
            "model_version": None if live is None else ledger.manifest(live).model_version,
            "why": [entry.reason for entry in ledger.entries() if entry.release_id == live][-1] if live else None,
        },
        "ledger": {
            "verified": ledger.verify(PublishedHeads(settings.paths.releases)) == [],
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
            "seconds_to_first_timeline": seconds_to_first_timeline(seconds, elapsed_s) if "release" in outputs else None,
            "peak_memory_mb": round(peak_mb),
            "memory_measure": "proportional set size (PSS) of the demo and every process of the platform, sampled",
        },
    }


def _dataset(settings: Settings) -> dict[str, Any] | None:
    """What ingestion remembered of the dataset; None where nothing was ingested."""
    try:
        marker = dataset_marker(settings)
    except NothingIngested:
        return None
    return {key: marker[key] for key in ("name", "label", "simulated", "fingerprint")}


def seconds_to_first_timeline(seconds: Mapping[str, float], elapsed_s: float) -> float | None:
    """From the start until release 1 answered, with what came before the first stage; None where it never did.

    `seconds` by stage in the order in which they ended; of a run that was carried on, those of every stage's last try.
    """
    if "release" not in seconds:
        return None
    order = list(seconds)
    before = max(0.0, elapsed_s - sum(seconds.values()))
    return round(before + sum(seconds[name] for name in order[: order.index("release") + 1]), 1)


def notes(settings: Settings, outcomes: Mapping[str, Outcome]) -> list[str]:
    """One sentence each on what was simulated, derived, sampled or left out."""
    found = {name: outcome.output for name, outcome in outcomes.items() if outcome.output is not None}
    sentences = []
    if _dataset(settings) is not None:
        marker = dataset_marker(settings)
        if marker["simulated"]:
            sentences.append(f"simulated: every figure is of {marker['label']}")
        sentences += marker.get("notes", ())
    sentences += [f"splits: {note}" for note in found.get("ingest", {}).get("split_notes", ())]
    for what, by_reason in (("events", "malformed_by_reason"), ("rows", "left_out_by_reason")):
        for reason, rows in found.get("ingest", {}).get(by_reason, {}).items():
            sentences.append(f"left out: {rows:,} {what} that can't be read, which are dead letters: {reason}")
    if found.get("ingest", {}).get("edges_derived"):
        sentences.append("derived: the follow graph is read off engagements, since the dataset logs none")
    for name, what in (("train", "the first model"), ("fault", "the challenger")):
        if found.get(name, {}).get("sampled"):
            sentences.append(f"sampled: {what} learned from {found[name]['learned_from']}")
    if later := found.get("replay", {}).get("left_out"):
        sent = found["replay"]["events"]
        sentences.append(f"left out: {later:,} events of the replayed days, which come after the first {sent:,}")
    share = found.get("replay", {}).get("share")
    if share is not None and share < 1:
        sentences.append(f"sampled: the visits of {share:.0%} of the users were replayed; events are everybody's")
    sentences += found.get("train", {}).get("not_measured", ())
    titles = {stage.name: stage.title for stage in STAGES}
    left = [titles[name] for name, outcome in outcomes.items() if outcome.state == "left out"]
    if left:
        sentences.append(f"left out: {', '.join(left)}; `mixer demo` goes on with them")
    sentences += [
        f"{o.state}: {titles[name]}: {o.reason}" for name, o in outcomes.items() if o.state not in ("done", "left out")
    ]
    return sentences


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """The summary as a person reads it; a stage without a result has no table, and stands among the notes."""
    dataset = summary["dataset"] or {"label": "no dataset", "simulated": False}
    simulated = " [bold yellow](simulated)[/]" if dataset["simulated"] else ""
    console.rule(f"Home Mixer, {summary['run']}: {dataset['label']}{simulated}")
    console.print(_facts(summary))
    if "train" in summary and summary["train"]["metrics"]:
        console.print(offline_table(summary["train"], summary["own_actions"]))
    if "drift" in summary or "fault" in summary:
        console.print(_drift(summary))
    console.print(_ledger(summary))
    if summary["timeline"] is not None:
        console.print(_timeline(summary["timeline"]))
    if summary["notes"]:
        lines = [Text(sentence, style=NOTE_STYLE.get(sentence.partition(":")[0], "")) for sentence in summary["notes"]]
        console.print(Panel(Group(*lines), title="what was simulated, derived, sampled or left out", title_align="left"))
    if "release" in summary:  # else the platform is stopped, and nothing is at these addresses
        pages = Table.grid(padding=(0, 2))
        for name, address in summary["pages"].items():
            pages.add_row(name, address)
        console.print(Panel(pages, title="where to look", title_align="left"))
    cost = summary["cost"]
    first = cost["seconds_to_first_timeline"]
    console.print(
        f"{cost['seconds_of_all_stages']:.0f} s for all stages"
        + (f", {first:.0f} s to the first timeline" if first is not None else "")
        + f", peak memory {cost['peak_memory_mb'] / 1000:.1f} GB",
        highlight=False,
    )


def _facts(summary: dict[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    if "ingest" in summary:
        ingest = summary["ingest"]
        events, kept = ingest["lake_events"] + ingest["holdout_events"], " (kept from before)" if ingest["skipped"] else ""
        grid.add_row("ingested", f"{events:,} events, {ingest['posts']:,} posts, {ingest['users']:,} users{kept}")
    if "validate" in summary:
        tables = summary["validate"]["tables"]
        broken = {f"{name}.{rule}": n for name, table in tables.items() for rule, n in table["broken_rows"].items()}
        quarantined = sum(table["quarantined"] for table in tables.values())
        grid.add_row("failed validation", f"{quarantined:,} rows quarantined; rows by broken rule: {broken or 'none'}")
    if "replay" in summary:
        replay = summary["replay"]
        latency = ", ".join(f"{name} {value} ms" for name, value in replay.get("latency_ms", {}).items())
        told = f"{replay['requests']:,} requests, {replay['events']:,} events, {replay['errors']} errors; {latency}"
        grid.add_row("replayed", told)
    live = summary["live_release"]
    if live["release"] is not None:
        grid.add_row("live", f"{live['release']} (model version {live['model_version']}): {live['why']}")
    return grid


def offline_table(train: dict[str, Any], own_actions: Mapping[str, str]) -> Table:
    """Offline metrics of all models on the test days; heads of own actions go by the names in `own_actions`."""
    table = Table(
        title=f"offline, test days {train['test_days'][0]} to {train['test_days'][-1]} ({train['test_rows']:,} rows)",
        title_justify="left",
    )
    table.add_column("model")
    table.add_column("head")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for model, heads in train["metrics"].items():
        for head in shown_heads(train["metrics"]):
            if head in heads:
                cells = [heads[head].get(column) for column in COLUMNS]
                table.add_row(
                    model, with_own_names(head, own_actions), *("-" if cell is None else f"{cell:.4f}" for cell in cells)
                )
    return table


def shown_heads(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The most common heads that the models are judged on, commonest first."""
    first = next(iter(metrics.values()))
    counted = {head: figures.get("positives") or 0 for head, figures in first.items()}
    return [head for head in sorted(counted, key=lambda head: -counted[head]) if counted[head] >= LEAST_JUDGED][:SHOWN]


def _drift(summary: dict[str, Any]) -> Panel:
    lines = []
    for name in ("drift", "fault"):
        if name not in summary:
            continue
        found = summary[name]
        lines.append(
            Text(f"{found['planted'] or 'real data'}: {found['verdict']}", style=VERDICT_STYLE.get(found["verdict"], ""))
        )
        lines += [Text(f"  {reason}", style="dim") for reason in found["reasons"][:3]]
        run = found.get("flow_run") or found.get("retraining", {}).get("flow_run")
        if run:
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
