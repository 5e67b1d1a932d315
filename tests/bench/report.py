"""One shape for every bench's answer: what was measured, the machine it ran on, and how busy that machine was."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.table import Table

_PEER = "peer"


def measured(name: str, bench: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Run `bench`; its keys with `bench` (the name) before and `machine` behind them.

    machine: cores, processor, python, load_before and load_after (the operating system's averages over 1, 5 and 15 minutes):
    a load above the number of cores means that others worked on the machine too, and that times are worse than they could be.
    """
    before = os.getloadavg()
    result = bench()
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in before],
        "load_after": [round(load, 2) for load in os.getloadavg()],
    }
    return {"bench": name, **result, "machine": machine}


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """The report for people: the bench's figures beside its peer's, then one table for each part of it, then the machine."""
    head = {name: value for name, value in report.items() if name not in ("bench", "machine")}
    yield from _tables(str(report["bench"]), head)
    yield from _tables("machine", report["machine"])


def _tables(title: str, figures: Mapping[str, Any]) -> Iterator[Table]:
    peer = figures.get(_PEER, {})
    parts = {name: value for name, value in figures.items() if name != _PEER and _is_part(value)}
    plain = {name: value for name, value in figures.items() if name != _PEER and name not in parts}
    table = Table("figure", "ours", *(["peer"] if peer else []), title=title, title_justify="left")
    for name in dict.fromkeys([*plain, *(peer if isinstance(peer, Mapping) else {})]):
        cells = [shown(plain.get(name))]
        table.add_row(name, *cells, *([shown(peer.get(name))] if peer else []))
    if table.row_count:
        yield table
    for name, part in parts.items():
        if isinstance(part, Mapping):
            yield from _tables(f"{title}: {name}", part)
        else:
            for number, one in enumerate(part, 1):
                yield from _tables(f"{title}: {name} {number}", one)


def _is_part(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def shown(value: object) -> str:
    """A figure as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.4g}"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value)
    return str(value)
