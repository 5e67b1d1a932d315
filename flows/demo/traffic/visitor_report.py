"""How the simulated visitors are told: a table while they live, lines where there is no terminal, a summary at the end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from flows.demo.traffic.world_visitors import WorldVisitors

LABEL = "simulated"
TABLE_EVERY_S = 1.0
LINE_EVERY_S = 10.0
RATE_S = 20.0  # over which the pages a second of the table are measured
SLOW = 0.9  # of the asked speed: below it, that is said


@dataclass
class VisitorReport:
    """Reads `visitors` and tells; `satisfaction` is everyone's when this process began."""

    visitors: WorldVisitors
    satisfaction: np.ndarray
    began: float = field(default_factory=time.monotonic)
    cpu_began: float = field(default_factory=time.process_time)
    _rates: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world_began_us = self.visitors.state.world_us
        self.pages_began = self.visitors.state.tally.pages
        self._rates.append((self.began, self.pages_began))

    def satisfaction_now(self) -> np.ndarray:
        """Of the people who live here, today's pages included; float64."""
        return self.visitors.state.satisfaction_so_far(self.visitors.world)[self.visitors.life.people]

    def summary(self, stopped: str) -> dict:
        """Everything, labelled simulated; counts are since the visitors first came, `this_run` is of this process."""
        visitors, state = self.visitors, self.visitors.state
        ran_s = time.monotonic() - self.began
        cpu_s = time.process_time() - self.cpu_began
        before, now = self.satisfaction, self.satisfaction_now()
        counts = {name: value for name, value in state.tally.counts().items() if name != "releases"}
        return {
            "label": LABEL,
            "stopped": stopped,
            "world_time": told_time(state.world_us),
            "people": len(visitors.life.people),
            "pages": state.tally.pages,
            **counts,
            "by_release": state.tally.by_release(),
            "satisfaction": {
                "mean_at_start": round(float(before.mean()), 4),
                "mean": round(float(now.mean()), 4),
                "p10": round(float(np.quantile(now, 0.1)), 4),
                "p90": round(float(np.quantile(now, 0.9)), 4),
                "mean_move_of_a_person": round(float(np.abs(now - before).mean()), 4),
            },
            "this_run": {
                "seconds": round(ran_s, 1),
                "pages_per_s": round((state.tally.pages - self.pages_began) / max(ran_s, 1e-9), 2),
                "latency_ms": state.tally.latency(),
                "speed_asked": visitors.clock.speed,
                "speed_held": round((state.world_us - self.world_began_us) / 1e6 / max(ran_s, 1e-9), 1),
                "cpu_s": round(cpu_s, 2),
                "cpu_share_of_a_core": round(cpu_s / max(ran_s, 1e-9), 4),
            },
        }

    async def watch(self, console: Console) -> None:
        """Tell on `console` until cancelled."""
        if not console.is_terminal:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                console.print(self._line(), highlight=False, soft_wrap=True)
        with Live(self._table(), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(TABLE_EVERY_S)
                live.update(self._table(), refresh=True)

    def _pages_per_s(self) -> float:
        now, pages = time.monotonic(), self.visitors.state.tally.pages
        self._rates = [one for one in self._rates if one[0] > now - RATE_S] + [(now, pages)]
        began, before = self._rates[0]
        return (pages - before) / (now - began) if now > began else 0.0

    def _pace(self) -> str:
        clock = self.visitors.clock
        held = clock.speed_held()
        slow = held < SLOW * clock.speed and clock.held_by is not None
        return f"x{clock.speed:g} asked, x{held:.0f} held: {clock.held_by}" if slow else f"x{clock.speed:g}"

    def _line(self) -> str:
        state = self.visitors.state
        tally = state.tally
        arms = ", ".join(
            f"{name} {one['share_of_pages']:.0%} of pages, {one['clicks_per_page']:.2f} clicks a page"
            for name, one in tally.by_release().items()
        )
        return (
            f"{LABEL}: {told_time(state.world_us)} ({self._pace()}), {tally.visits:,} visits, {tally.pages:,} pages "
            f"({self._pages_per_s():.1f}/s), {tally.page_errors:,} errors, events {tally.events_accepted:,} accepted, "
            f"{tally.events_rejected:,} rejected, {tally.events_lost:,} lost; {arms or 'no page yet'}"
        )

    def _table(self) -> Table:
        state = self.visitors.state
        tally = state.tally
        table = Table(title=f"{LABEL} visitors: {told_time(state.world_us)} ({self._pace()})", title_justify="left")
        for column in ("release", "pages", "share", "clicks a page", "not interested"):
            table.add_column(column, justify="left" if column == "release" else "right")
        for name, one in tally.by_release().items():
            cells = f"{one['pages']:,}", f"{one['share_of_pages']:.0%}", f"{one['clicks_per_page']:.2f}"
            table.add_row(name, *cells, f"{one['not_interested']:,}")
        table.caption = (
            f"{tally.visits:,} visits, {self._pages_per_s():.1f} pages/s, {tally.page_errors:,} errors, "
            f"{tally.empty_pages:,} empty pages; events: {tally.events_accepted:,} accepted, "
            f"{tally.events_rejected:,} rejected, {tally.events_lost:,} lost; {tally.posts_published:,} new posts; "
            f"satisfaction {self.satisfaction_now().mean():.3f}. Ctrl-C ends it; a later call goes on from there."
        )
        return table


def told_time(world_us: int) -> str:
    """World time for people, in UTC."""
    return f"{datetime.fromtimestamp(world_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
