"""What `mixer data inspect` and `mixer data check` print: tables on a terminal, the same words without one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from feature_repo.datasets.own.check import CheckReport, RowFault
from feature_repo.datasets.own.inspection import FileFact, Inspection
from monitoring.expectations.forecast import Forecast

MOST_SHOWN = 60  # characters of a value


def print_inspection(found: Inspection, out: Console) -> None:
    """Files, the guessed mapping, how columns are read, mapped rows, doubts and notes."""
    out.print(_files(found.files))
    _heading(out, "guessed mapping")
    text = found.text()
    if out.is_terminal:
        out.print(Syntax(text, "yaml", background_color="default", word_wrap=True))
    else:
        out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
    if found.readings:
        _heading(out, "how columns are read")
        table = _table("ours", "yours")
        for ours, theirs in found.readings:
            table.add_row(ours, escape(theirs))
        out.print(table)
    if found.rows is not None:
        _heading(out, f"the first {found.rows.height} mapped rows")
        out.print(_rows(found.rows))
    _sentences(out, "doubtful", found.doubts, "yellow")
    _sentences(out, "what follows from it", found.notes, "cyan")


def print_check(path: Path, report: CheckReport, forecast: Forecast, out: Console) -> None:
    """The verdict first, then every refusal, the first rows of each fault, doubts and notes."""
    if report.accepted:
        days = f", {report.days[0]} to {report.days[1]}" if report.days else ""
        verdict = "[red]can be ingested, but validation would fail[/]" if forecast.stops else "[green]can be ingested[/]"
        out.print(f"{escape(str(path))} {verdict}: {report.events:,} events{days}", highlight=False, soft_wrap=True)
        out.print(_outcome(report))
    else:
        out.print(f"[red]{escape(str(path))} would be refused[/]", highlight=False, soft_wrap=True)
        if report.counts.rows:
            out.print(_outcome(report))
    _sentences(out, "refused", report.refusals, "red")
    if report.faults:
        _heading(out, "rows left out")
        for fault in sorted(report.faults.values(), key=lambda fault: -fault.count):
            _fault(out, fault)
    _sentences(out, "refused by validation", forecast.stops, "red")
    _sentences(out, "set aside by validation", forecast.told, "yellow")
    _sentences(out, "doubtful", report.doubts, "yellow")
    _sentences(out, "what follows from it", report.notes, "cyan")


def _outcome(report: CheckReport) -> Table:
    counts = report.counts
    table = _table("rows", "", numbers=True)
    lines = {
        "rows read": counts.rows,
        "events": counts.events,
        "left out with a reason": counts.dead,
        "repeats of an event_id": report.repeats,
        "skipped by the mapping": counts.skipped,
        "rows in which nothing happened": counts.silent,
        "impressions derived": counts.derived,
        "impressions sampled": counts.sampled,
        "posts": report.posts,
        "users": report.users,
        "edges": report.edges,
    }
    for name, number in lines.items():
        if number or name in ("rows read", "events"):
            table.add_row(name, f"{number:,}")
    return table


def _fault(out: Console, fault: RowFault) -> None:
    where = "" if fault.table == "events" else f"{fault.table}: "
    out.print(f"  [yellow]{fault.count:,}[/] × {escape(where + fault.reason)}", highlight=False, soft_wrap=True)
    for file, row, column, value in fault.rows:
        place = f"{file}, row {row}" if row is not None else str(file)
        shown = "" if column is None or value is None else f": {column} is {value[:MOST_SHOWN]!r}"
        out.print(f"      {escape(place + shown)}", highlight=False, soft_wrap=True)


def _files(files: tuple[FileFact, ...]) -> Table:
    table = _table("table", "file", "size", "rows", title="files")
    for fact in files[:20]:
        table.add_row(fact.table, escape(fact.name), _size(fact.size), "" if fact.rows is None else f"{fact.rows:,}")
    if len(files) > 20:
        table.add_row("", f"and {len(files) - 20} more", "", "")
    return table


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} B"


def _rows(rows: pl.DataFrame) -> Table:
    table = _table(*rows.columns)
    for row in rows.iter_rows(named=True):
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value.strftime("%Y-%m-%d %H:%M:%S") if hasattr(value, "strftime") else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _table(*columns: str, title: str | None = None, numbers: bool = False) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        right = column in ("size",) or (numbers and place == 1)
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _heading(out: Console, text: str) -> None:
    out.print(f"\n[bold]{text}[/]", highlight=False)


def _sentences(out: Console, heading: str, sentences: tuple[str, ...] | list[str], colour: str) -> None:
    if not sentences:
        return
    _heading(out, heading)
    for sentence in sentences:
        out.print(f"  [{colour}]-[/] {escape(sentence)}", highlight=False, soft_wrap=True)
