"""Where the simulated visitors stand: everyone's satisfaction, who came today, and the file that keeps both."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from feature_repo.contracts import Action
from feature_repo.datasets.world import World
from flows.demo.traffic.visitor_tally import Tally
from infra.storage import replace_atomically


class VisitorsElsewhere(RuntimeError):
    """These people live here already, by another process or from another world."""


@dataclass
class VisitorState:
    """`satisfaction`: everyone's at the beginning of day number `day`, float64 (users,); what came after it is today's.

    of: which world and seed this is of. done: (user, number) of today's finished visits.
    """

    of: str
    day: int
    world_us: int
    satisfaction: np.ndarray
    done: set[tuple[int, int]] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)  # user, clicked, not_interested
    follows: list[tuple[int, int]] = field(default_factory=list)  # (user, post whose author the user follows since)

    def visited(self, user_id: int, number: int, clicked: np.ndarray, not_interested: np.ndarray) -> None:
        """A visit has ended, with what the person did at each post: bool (n,) each."""
        self.done.add((user_id, number))
        self.seen.append((np.full(len(clicked), user_id), clicked, not_interested))
        self.tally.visits += 1

    def end_day(self, world: World) -> None:
        """Go on to the next day: today's pages have moved everyone's satisfaction, and some follow more authors."""
        users, happened = self.today()
        self.satisfaction = world.satisfaction_after(self.satisfaction, users, happened)
        self.tell_follows(world)
        self.day += 1
        self.done, self.seen = set(), []

    def tell_follows(self, world: World) -> None:
        """Let `world` know whom people follow since its log ended."""
        if self.follows:
            world.follow_authors(*np.array(self.follows, np.int64).T)

    def satisfaction_so_far(self, world: World) -> np.ndarray:
        """As `end_day` would leave it if the day ended now, float64 (users,)."""
        return world.satisfaction_after(self.satisfaction, *self.today())

    def today(self) -> tuple[np.ndarray, dict[Action, np.ndarray]]:
        """Today's looks at posts: user int64 (n,), and what happened at each, bool (n,) by action."""
        empty = (np.empty(0, np.int64), np.empty(0, bool), np.empty(0, bool))
        users, clicked, not_interested = (np.concatenate(parts) for parts in zip(empty, *self.seen, strict=True))
        return users, {Action.CLICK: clicked, Action.NOT_INTERESTED: not_interested}


class VisitorFile:
    """The checkpoint of one home's visitors: one file, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "world.npz"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the home's visitors; the lock goes with the process, however it ends. Raises VisitorsElsewhere."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.with_suffix(".lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise VisitorsElsewhere(f"{self.file.parent}: visitors live here already; stop that process first") from error
            yield

    def save(self, state: VisitorState) -> None:
        """Keep `state`; it must not change meanwhile."""
        users, happened = state.today()
        facts = {"of": state.of, "day": state.day, "world_us": state.world_us, "tally": state.tally.counts()}
        with replace_atomically(self.file) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                facts=json.dumps(facts),
                satisfaction=state.satisfaction,
                done=np.array(sorted(state.done), np.int64).reshape(-1, 2),
                users=users,
                clicked=happened[Action.CLICK],
                not_interested=happened[Action.NOT_INTERESTED],
                follows=np.array(state.follows, np.int64).reshape(-1, 2),
            )

    def load(self, of: str) -> VisitorState | None:
        """What was kept, None before the first time. Raises VisitorsElsewhere where it is not of the world and seed `of`."""
        if not self.file.exists():
            return None
        with np.load(self.file, allow_pickle=False) as kept:
            facts = json.loads(str(kept["facts"]))
            if facts["of"] != of:
                raise VisitorsElsewhere(
                    f"{self.file} goes on with {facts['of']}, not with {of}: give that --seed, or remove the file to begin anew"
                )
            return VisitorState(
                of=of,
                day=facts["day"],
                world_us=facts["world_us"],
                satisfaction=kept["satisfaction"],
                done={(user, number) for user, number in kept["done"].tolist()},
                tally=Tally.of_counts(facts["tally"]),
                seen=[(kept["users"], kept["clicked"], kept["not_interested"])],
                follows=[(user, post) for user, post in kept["follows"].tolist()],
            )
