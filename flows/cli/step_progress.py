"""How a step goes on while it is waited for: one line that changes in a terminal, lines of text elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

LINE_EVERY_S = 15.0  # between two lines of one kind, where no terminal shows the line that changes
QUIETLY = re.compile(r"[\d.,]+")  # what differs between two lines of one kind: their numbers


class StepProgress:
    """A step's title, what it does now and for how long, while the block runs. `tell` may be called from anywhere."""

    def __init__(self, title: str, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._out, self._clock = title, out, clock
        self._began, self._now = clock(), ""
        self._told: dict[str, float] = {}  # by kind of line, when its last one was printed
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._line, console=out, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._out.is_terminal:
            self._live.start()
        else:
            self._print("")
        return self

    def __exit__(self, *_: object) -> None:
        if self._out.is_terminal:
            self._live.stop()

    def tell(self, text: str) -> None:
        """What the step does now, as its flow logs it."""
        self._now = text.splitlines()[0] if text else ""
        if not self._out.is_terminal and self._is_due(QUIETLY.sub("", self._now)):
            self._print(self._now)

    def _is_due(self, kind: str) -> bool:
        """Whether a line of this kind is new, or was last printed long enough ago."""
        last, now = self._told.get(kind), self._clock()
        due = last is None or now - last >= LINE_EVERY_S
        if due:
            self._told[kind] = now
        return due

    def _print(self, what: str) -> None:
        elapsed = f" ({self._elapsed():.0f} s): {what}" if what else " ..."
        self._out.print(Text(f"  {self._title}{elapsed}"), soft_wrap=True)

    def _line(self) -> Table:
        line = Table.grid(padding=(0, 1))
        line.add_column()
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(self._spinner, f"{self._title} {self._elapsed():.0f} s", Text(self._now, style="dim"))
        return line

    def _elapsed(self) -> float:
        return self._clock() - self._began
