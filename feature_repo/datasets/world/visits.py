"""Who comes when, and for how long. What a feed did to people lasts: the satisfied come more often and stay longer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.contracts import Action
from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.day_curve import DAY_US, time_of_day_us
from feature_repo.datasets.world.draws import Stream, uniforms
from feature_repo.datasets.world.people import People
from feature_repo.datasets.world.posts import start_us

MOST_VISITS_A_DAY = 8
MOST_POSTS_A_VISIT = 25

NEUTRAL = 0.3  # satisfaction of someone who has not visited yet; about the mean joy of the logged policy
_MEMORY = 0.85  # share of yesterday's satisfaction that a visited day keeps
_RETURN_PULL = 1.2  # log visits a day per unit of satisfaction
_STAY_PULL = 0.6  # log posts a visit per unit of satisfaction
_ANNOYANCE = 3.0  # clicks that one `not_interested` outweighs


@dataclass(frozen=True)
class Visits:
    """Visits of one day, sorted by time."""

    user_id: np.ndarray  # int64 (n,)
    number: np.ndarray  # int64 (n,), the person's n-th visit of the day
    at_us: np.ndarray  # int64 (n,)
    length: np.ndarray  # int64 (n,), posts looked at

    def __len__(self) -> int:
        return len(self.user_id)


def visits(config: WorldConfig, everyone: People, day: int, satisfaction: np.ndarray) -> Visits:
    """Visits on day number `day`, given everyone's `satisfaction`, float64 (users,)."""
    mood = satisfaction - NEUTRAL
    user = np.repeat(everyone.user_id, MOST_VISITS_A_DAY)
    number = np.tile(np.arange(MOST_VISITS_A_DAY), len(everyone))
    draws = uniforms(config.seed, Stream.VISIT, user, day, number)
    expected = everyone.visits_a_day * np.exp(_RETURN_PULL * mood)
    # Rounding up with the fraction's chance keeps the expectation; the first draw of the day decides it.
    count = np.floor(expected + draws[::MOST_VISITS_A_DAY, 0]).clip(max=MOST_VISITS_A_DAY)
    come = number < np.repeat(count, MOST_VISITS_A_DAY)
    stay = np.repeat(everyone.patience * np.exp(_STAY_PULL * mood), MOST_VISITS_A_DAY)[come]
    length = np.ceil(-np.log(draws[come, 2]) * stay).clip(1, MOST_POSTS_A_VISIT).astype(np.int64)
    at_us = start_us(config) + day * DAY_US + time_of_day_us(draws[come, 1])
    order = np.lexsort((user[come], at_us))
    return Visits(user[come][order], number[come][order], at_us[order], length[order])


def satisfaction_after(satisfaction: np.ndarray, user_ids: np.ndarray, happened: dict[Action, np.ndarray]) -> np.ndarray:
    """Satisfaction, float64 (users,), after a day on which `user_ids` (n exposures) responded as `happened`."""
    joy = happened[Action.CLICK].astype(np.float64) - _ANNOYANCE * happened[Action.NOT_INTERESTED]
    seen = np.bincount(user_ids, minlength=len(satisfaction))
    mean_joy = np.bincount(user_ids, weights=joy, minlength=len(satisfaction)) / np.maximum(seen, 1)
    return np.where(seen > 0, _MEMORY * satisfaction + (1 - _MEMORY) * mean_joy, satisfaction)
