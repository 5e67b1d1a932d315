"""How a step goes on while it is waited for: one line that changes in a terminal, lines of text elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

LINE_EVERY_S = 15.0  # between two lines of one kind, where no terminal shows the line that changes
NUMBERS = re.compile(r"[\d.,]+")


class StepProgress:
    """A step's title, what it does now and for how long, while the block runs. `tell` may be called from anywhere."""

    def __init__(self, title: str, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._out, self._clock = title, out, clock
        self._began = clock()
        self._told: dict[str, float] = {}  # by kind of line, when its last one was printed
        # What the step does now takes the width that is left, and no markup: it is text of a log.
        told = TextColumn("{task.fields[now]}", style="dim", markup=False, table_column=Column(no_wrap=True, ratio=1))
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), told
        self._live = Progress(*columns, console=out, get_time=clock, transient=True, expand=True)
        self._task = self._live.add_task(title, now="")

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
        now = text.splitlines()[0] if text else ""
        if self._out.is_terminal:
            self._live.update(self._task, now=now)
        elif self._is_due(kind_of(now)):
            self._print(now)

    def _is_due(self, kind: str) -> bool:
        """Whether a line of this kind is new, or was last printed long enough ago."""
        last, now = self._told.get(kind), self._clock()
        due = last is None or now - last >= LINE_EVERY_S
        if due:
            self._told[kind] = now
        return due

    def _print(self, what: str) -> None:
        elapsed = f" ({self._clock() - self._began:.0f} s): {what}" if what else " ..."
        self._out.print(Text(f"  {self._title}{elapsed}"), soft_wrap=True)


def kind_of(line: str) -> str:
    """A line without its numbers: one that differs from the last only in them, as a count that goes on, tells nothing new."""
    return NUMBERS.sub("", line)
