"""A step that takes minutes tells what it does: in place in a terminal, in lines of text elsewhere."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from flows.cli.step_progress import LINE_EVERY_S, StepProgress


class Clock:
    """A clock that stands until it is set forward."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_each_new_kind_of_line_is_printed_and_repeats_now_and_then():
    out, clock = Console(width=200, file=StringIO()), Clock()
    with StepProgress("train", out, clock) as progress:
        clock.now = 4.0
        progress.tell("point-in-time rows of 9 days")
        progress.tell("fitting heavy: 1%, loss 0.9")
        clock.now += LINE_EVERY_S - 1
        progress.tell("fitting heavy: 9%, loss 0.8")  # too soon after one of its kind
        clock.now += 1
        progress.tell("fitting heavy: 12%, loss 0.7")
        progress.tell("fitting two_tower: 3%, loss 2.5")
    assert out.file.getvalue().splitlines() == [
        "  train ...",
        "  train (4 s): point-in-time rows of 9 days",
        "  train (4 s): fitting heavy: 1%, loss 0.9",
        "  train (19 s): fitting heavy: 12%, loss 0.7",
        "  train (19 s): fitting two_tower: 3%, loss 2.5",
    ]


def test_a_terminal_shows_the_newest_line_with_the_time_that_has_passed():
    out, clock = Console(width=80, file=StringIO(), force_terminal=True), Clock()
    with StepProgress("train", out, clock) as progress:
        clock.now = 75.0
        progress.tell("fitting heavy: 40%, loss 0.5")
        shown = Console(width=80, file=StringIO())
        shown.print(progress._line())
    assert "train 75 s fitting heavy: 40%, loss 0.5" in shown.file.getvalue()
