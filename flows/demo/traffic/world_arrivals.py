"""Who of the simulated people lives here, and who comes when on a day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from feature_repo.datasets.world import World
from feature_repo.datasets.world.draws import Stream, uniforms
from feature_repo.datasets.world.visits import visits

FOLLOWING_SHARE = 0.1  # of visits open the Following timeline


@dataclass(frozen=True)
class Arrival:
    """One visit to come: the person's `number`-th of the day."""

    day: int
    user_id: int
    number: int
    at_us: int
    length: int  # posts that the person has patience for
    product: str  # the timeline that the person opens


def chosen_people(asked: str | None, users: int, seed: int) -> np.ndarray:
    """Ids of who lives here, int64 ascending. asked: a number, a share such as 0.2 or 20%, None for everyone.

    The people of a smaller number are among those of a larger one. Raises ValueError.
    """
    wanted = users if asked is None else _people(asked, users)
    return np.sort(np.random.default_rng(seed).permutation(users)[:wanted])


def _people(asked: str, users: int) -> int:
    try:
        share = float(asked.removesuffix("%")) / 100 if asked.endswith("%") else float(asked) if "." in asked else None
        wanted = int(asked) if share is None else round(users * share) if 0 < share <= 1 else 0
    except ValueError:
        wanted = 0
    if not 1 <= wanted <= users:
        raise ValueError(f"--people {asked}: give a number from 1 to {users:,}, or a share of them such as 0.2 or 20%")
    return wanted


def arrivals(world: World, day: int, satisfaction: np.ndarray, people: np.ndarray, seed: int) -> list[Arrival]:
    """Visits of `people` on day number `day`, oldest first, given everyone's `satisfaction`, float64 (users,).

    seed: of when they come and what they open; who they are and what they like is the world's own.
    """
    coming = visits(replace(world.config, seed=seed), world.people, day, satisfaction)
    follows = uniforms(seed, Stream.TIMELINE_CHOICE, coming.user_id, day, coming.number)[:, 0] < FOLLOWING_SHARE
    columns = (coming.user_id, coming.number, coming.at_us, coming.length, follows)
    return [
        Arrival(day, user_id, number, at_us, length, "following" if following else "for_you")
        for user_id, number, at_us, length, following in zip(
            *(column[np.isin(coming.user_id, people)].tolist() for column in columns), strict=True
        )
    ]
