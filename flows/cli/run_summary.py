"""What a flow returned, for people: values by name, lists of alike things as tables, and of what is long its beginning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table
from rich.text import Text

MOST_ROWS = 10  # of a table
MOST_COLUMNS = 7
MOST_ITEMS = 8  # of a list or a mapping on one line
DEEPEST = 2  # a mapping within a mapping within a mapping is left to --json


def print_summary(flow: str, result: Any, out: Console) -> None:
    """Print `result` of flow `flow`: JSON values, nested as they may be."""
    out.print(f"[green]✓[/] flow [bold]{escape(flow)}[/] is done", highlight=False)
    shortened = _print(result, out, "", 0)
    if shortened:
        out.print(f"[dim]shortened; `mixer run {escape(flow)} --json` prints all of it[/]", highlight=False)


def _print(value: Any, out: Console, title: str, depth: int) -> bool:
    """Print one value under its title; returns whether something of it was left out."""
    if isinstance(value, Mapping):
        rows = list(value.values())
        if rows and title and all(isinstance(row, Mapping) for row in rows):
            return _print_table([{"": name, **row} for name, row in value.items()], out, title)
        return _print_fields(value, out, title, depth)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(row, Mapping) for row in value):
            return _print_table(list(value), out, title)
        value = {title or "result": value}
        return _print_fields(value, out, "", depth)
    if value is not None:
        return _print_fields({title or "result": value}, out, "", depth)
    return False


def _print_fields(fields: Mapping[str, Any], out: Console, title: str, depth: int) -> bool:
    """What fits on a line first, then what needs a table or a section of its own."""
    grid = Table.grid(padding=(0, 2))
    large, pages = {}, []
    shortened = False
    for name, value in fields.items():
        if value is None or value in ("", [], {}):
            continue
        if isinstance(value, str) and "\n" in value:
            pages.append(value)
        elif (line := _on_a_line(value)) is not None:
            grid.add_row(Text(_words(name), style="cyan"), Text(line[0]))
            shortened |= line[1]
        else:
            large[name] = value
    if title and grid.row_count:
        out.print(f"\n[bold]{escape(_words(title))}[/]", highlight=False)
    if grid.row_count:
        out.print(grid)
    for page in pages:
        out.print(Markdown(page))
    for name, value in large.items():
        if depth + 1 >= DEEPEST and isinstance(value, Mapping) and not _is_table(value):
            shortened = True
            continue
        shortened |= _print(value, out, f"{title} {name}".strip(), depth + 1)
    return shortened


def _is_table(value: Mapping[str, Any]) -> bool:
    return all(isinstance(row, Mapping) for row in value.values())


def _print_table(rows: list[Mapping[str, Any]], out: Console, title: str) -> bool:
    """Rows as a table: columns in the order in which they come up, those of plain values only."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    plain = [name for name in names if all(_is_plain(row.get(name)) for row in rows)]
    shown = [name for name in plain if any(row.get(name) is not None for row in rows)][:MOST_COLUMNS]
    table = Table(*(_words(name) for name in shown), title=_words(title) or None, title_justify="left")
    for row in rows[:MOST_ROWS]:
        table.add_row(*(Text(_text(row.get(name))) for name in shown))
    out.print(table)
    if len(rows) > MOST_ROWS:
        out.print(f"[dim]and {len(rows) - MOST_ROWS:,} more[/]", highlight=False)
    return len(rows) > MOST_ROWS or len(shown) < len([name for name in names if any(row.get(name) for row in rows)])


def _on_a_line(value: Any) -> tuple[str, bool] | None:
    """The value on one line, and whether that is less than all of it; None where it does not fit on one."""
    if _is_plain(value):
        return _text(value), False
    if isinstance(value, Mapping):
        if not all(_is_plain(item) for item in value.values()):
            return None
        items, between = [f"{_words(str(name))} {_text(item)}" for name, item in value.items()], ", "
    else:
        if not all(_is_plain(item) for item in value):
            return None
        items = [_text(item) for item in value]
        between = "\n" if any(len(item) > 40 for item in items) else ", "
    more = len(items) - MOST_ITEMS
    return between.join(items[:MOST_ITEMS]) + (f" and {more:,} more" if more > 0 else ""), more > 0


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple) and not (isinstance(value, str) and "\n" in value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _words(name: str) -> str:
    return str(name).replace("_", " ")
