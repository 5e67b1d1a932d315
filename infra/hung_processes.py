"""Finds processes that live and do nothing: they answer no request at all, or their loop has stopped turning."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from infra.process_spec import ProcessSpec, Running

ASK_EVERY_S = 5.0
ASK_TIMEOUT_S = 5.0
STOOD_STILL_S = 20.0  # between two looks: then it was the keeper, or the machine, that did nothing


@dataclass
class _Signs:
    """Of one life of a process. A sign counts from the first one on: what is still starting does not hang."""

    life: tuple[int, int]  # its pid, and when it started in the machine's ticks
    last: float | None = None  # when it gave a sign, in the caller's seconds
    asked: float = 0.0
    under_way: bool = False  # whether it was asked and has not answered yet
    answered: bool = False  # since the last look; set by the thread that asks
    beat: float | None = None  # the heartbeat file's time, as last seen


class HungProcesses:
    """Watches the processes that it is shown again and again. The caller has the clock, which only goes forward."""

    def __init__(self) -> None:
        self._signs: dict[str, _Signs] = {}
        self._looked_at: float | None = None

    def begin(self, now: float) -> None:
        """A look at all of them begins."""
        if self._looked_at is not None and now - self._looked_at > STOOD_STILL_S:
            self._signs.clear()
        self._looked_at = now

    def silent_for(self, running: Running, spec: ProcessSpec, heartbeat: Path, now: float) -> float:
        """Seconds since the process gave its last sign; 0 for one that gave none yet, or of which none is expected."""
        life = (running.pid, running.ticks)
        signs = self._signs.get(running.name)
        if signs is None or signs.life != life:
            signs = self._signs[running.name] = _Signs(life)
        if spec.beats:
            self._look_at(heartbeat, signs)
        elif spec.ready_url is not None:
            self._ask(spec.ready_url, signs, now)
        if signs.answered:
            signs.answered, signs.last = False, now
        return 0.0 if signs.last is None else now - signs.last

    def forget(self, name: str) -> None:
        self._signs.pop(name, None)

    @staticmethod
    def _look_at(heartbeat: Path, signs: _Signs) -> None:
        try:
            beat = heartbeat.stat().st_mtime
        except FileNotFoundError:
            signs.beat = 0.0
            return
        # A time that changes is a beat, whatever the clock says. What the file holds at first may be another life's.
        signs.answered |= signs.beat is not None and beat != signs.beat
        signs.beat = beat

    @staticmethod
    def _ask(url: str, signs: _Signs, now: float) -> None:
        if signs.under_way or now - signs.asked < ASK_EVERY_S:
            return
        signs.asked, signs.under_way = now, True

        def ask() -> None:
            if answers_at_all(url):
                signs.answered = True
            signs.under_way = False

        threading.Thread(target=ask, name="ask", daemon=True).start()


def answers_at_all(url: str) -> bool:
    """Whether anything comes back, an error too: what says that it is not ready does not hang."""
    try:
        with urllib.request.urlopen(url, timeout=ASK_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError, ValueError):
        return False
