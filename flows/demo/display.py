"""The demo's live display: one line a stage, what it is doing now, how long it took. Plain lines without a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

State = Literal["waiting", "running", "done", "kept", "partly", "skipped", "left out", "failed"]

MARKS: dict[State, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "bold cyan"),
    "done": ("✓", "green"),
    "kept": ("↺", "blue"),
    "partly": ("!", "bold yellow"),
    "skipped": ("–", "yellow"),
    "left out": ("–", "dim"),
    "failed": ("✗", "bold red"),
}


class Display:
    """Stages and their state, on `console` (the real terminal, also while libraries' output goes to the log)."""

    def __init__(self, stages: list[tuple[str, str]], title: str, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.__stdout__)
        self.title = title
        self._stages = dict(stages)
        self._state: dict[str, State] = {name: "waiting" for name in self._stages}
        self._text: dict[str, str] = {name: "" for name in self._stages}
        self._seconds: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._begun = time.monotonic()
        self._live: Live | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw while the block runs; without a terminal, stage changes are printed as lines instead."""
        if not self.console.is_terminal:
            self.console.print(self.title)
            yield
            return
        with Live(
            get_renderable=self._render,
            console=self.console,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as self._live:
            yield
        self._live = None

    def start(self, stage: str) -> None:
        self._state[stage], self._started[stage] = "running", time.monotonic()
        self._line(stage)

    def tell(self, stage: str, text: str) -> None:
        """What `stage` is doing now."""
        self._text[stage] = text.splitlines()[0] if text else ""

    def finish(self, stage: str, state: State, text: str, seconds: float | None = None) -> None:
        started = self._started.get(stage, time.monotonic())
        self._seconds[stage] = time.monotonic() - started if seconds is None else seconds
        self._state[stage], self._text[stage] = state, text
        self._line(stage)

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _line(self, stage: str) -> None:
        if self.console.is_terminal:
            return
        mark, style = MARKS[self._state[stage]]
        took = f" ({self._seconds[stage]:.0f} s)" if stage in self._seconds else ""
        self.console.print(Text(f"{mark} {self._stages[stage]}{took} {self._text[stage]}".rstrip(), style=style))

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=2)
        table.add_column(width=24, no_wrap=True)
        table.add_column(width=7, no_wrap=True, justify="right")
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for stage, label in self._stages.items():
            state = self._state[stage]
            mark, style = MARKS[state]
            first: RenderableType = Spinner("dots", style="cyan") if state == "running" else Text(mark, style=style)
            seconds = self._seconds.get(stage, time.monotonic() - self._started[stage] if stage in self._started else None)
            took = "" if seconds is None else f"{seconds:.0f} s"
            table.add_row(first, Text(label, style=style), Text(took, style="dim"), Text(self._text[stage], style="dim"))
        heading = Text.assemble((self.title, "bold"), (f"  {self.elapsed():.0f} s", "dim"), overflow="ellipsis", no_wrap=True)
        return Group(heading, table)
