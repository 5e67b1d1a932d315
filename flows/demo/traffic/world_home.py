"""The simulated visitors of one home, put together: its world, where they stand, their door and their clock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console

from feature_repo.datasets.adapter import open_world
from feature_repo.datasets.world import World, with_later_days
from feature_repo.datasets.world.day_curve import DAY_US
from flows.demo.traffic.front_door import FrontDoor
from flows.demo.traffic.new_posts import NewPosts
from flows.demo.traffic.visitor_report import VisitorReport
from flows.demo.traffic.visitor_state import VisitorFile, VisitorState
from flows.demo.traffic.world_arrivals import chosen_people
from flows.demo.traffic.world_clock import WorldClock, present_us
from flows.demo.traffic.world_visitors import Life, WorldVisitors
from flows.steps.lakes import dataset_marker, open_lakes
from infra.settings import Settings

DAYS_TO_COME = 400  # beyond the present: world time never gets there


class NoWorld(RuntimeError):
    """This home holds no simulated world, or another than the settings describe."""


@dataclass(frozen=True)
class Asked:
    """What a person asked for. speed: world time per real time; people: see `chosen_people`; lasts: None = until stopped."""

    speed: float
    people: str | None
    lasts: timedelta | None
    pages_per_s: float | None
    seed: int | None


def home_world(settings: Settings) -> World:
    """The home's world without end; raises NoWorld where its dataset is another, and NothingIngested where it has none."""
    marker, adapter = dataset_marker(settings), open_world(settings)
    if marker["name"] != adapter.name:
        raise NoWorld(
            f"{settings.paths.home} holds {marker['label']}, whose users nobody can simulate: "
            "use a home that was made with MIXER_DATASET=world"
        )
    if not marker["fingerprint"].startswith(f"{adapter.fingerprint()}-"):
        raise NoWorld(
            f"{settings.paths.home} holds another simulated world than MIXER_SEED={settings.seed}, "
            f"MIXER_WORLD_USERS={settings.world_users} and MIXER_WORLD_POSTS={settings.world_posts} describe: set them as they "
            "were when it was ingested"
        )
    start_us = World(adapter.config).start_us
    return World(with_later_days(adapter.config, (present_us() - start_us) // DAY_US + DAYS_TO_COME))


def first_state(settings: Settings, world: World, day: int, of: str) -> VisitorState:
    """How the visitors begin on day number `day`: with what the logged feed made of them."""
    satisfaction = World(open_world(settings).config).satisfaction_after_log()
    return VisitorState(of, day=day, world_us=world.start_us + day * DAY_US, satisfaction=satisfaction)


def let_live(settings: Settings, asked: Asked, leaving: threading.Event, console: Console) -> dict:
    """Let the people live on the platform of `settings` until `leaving` is set or the time is over; returns the summary.

    Raises NoWorld, VisitorsElsewhere, and ValueError for a number of people that cannot be.
    """
    world = home_world(settings)
    log_end_us = world.start_us + open_world(settings).config.days * DAY_US
    seed = settings.seed if asked.seed is None else asked.seed
    life = Life(chosen_people(asked.people, world.config.users, seed), seed)
    of = f"world {open_world(settings).fingerprint()} and seed {seed}"
    file = VisitorFile(settings.paths.runs / "visitors")
    posts = NewPosts(world, open_lakes(settings)[0], log_end_us)

    async def live(state: VisitorState) -> dict:
        door = FrontDoor(settings.gateway_url, asked.pages_per_s, lambda said: console.print(said, highlight=False))
        clock = WorldClock(state.world_us, asked.speed)
        visitors = WorldVisitors(world, life, state, clock, door, posts, file)
        report = VisitorReport(visitors, state.satisfaction_so_far(world)[life.people])
        why = await visitors.live(_stop(leaving, asked.lasts), lambda: report.watch(console))
        return report.summary(why)

    with file.alone():
        console.print(
            f"{len(life.people):,} simulated people; Ctrl-C ends it, a later call goes on from there", highlight=False
        )
        state = file.load(of) or first_state(settings, world, posts.first_free_day(), of)
        state.tell_follows(world)
        return asyncio.run(live(state))


def _stop(leaving: threading.Event, lasts: timedelta | None) -> Callable[[], str | None]:
    end = None if lasts is None else time.monotonic() + lasts.total_seconds()

    def stop() -> str | None:
        if leaving.is_set():
            return "asked to leave"
        return "the time given is over" if end is not None and time.monotonic() >= end else None

    return stop
