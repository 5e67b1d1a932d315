"""A step that takes minutes tells what it does: in place in a terminal, in lines of text elsewhere."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from flows.cli.step_progress import LINE_EVERY_S, StepProgress, kind_of


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


def test_a_terminal_shows_the_newest_line_with_the_time_that_has_passed(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out, clock = Console(width=80, file=StringIO(), force_terminal=True, color_system=None), Clock()
    with StepProgress("train", out, clock) as progress:
        clock.now = 75.0
        progress.tell("fitting heavy: 40%, loss [0.5]" + " and so on" * 20 + "\nits second line")
    lines = out.file.getvalue()
    assert "train 0:01:15 fitting heavy: 40%, loss [0.5] and so on" in lines
    assert "second" not in lines


def test_lines_that_differ_in_their_numbers_are_of_one_kind():
    assert kind_of("fitting heavy: 9%, loss 0.8") == kind_of("fitting heavy: 1,012%, loss 3")
    assert kind_of("fitting heavy: 9%") != kind_of("fitting two_tower: 9%")
