"""How people respond to a post: every probability is a known function, so any estimator can be scored against the truth.

A click comes first; the other responses are given a click, except `not_interested`, which is given none. A draw depends only on
(seed, user, post, slot): two releases that show the same post in the same slot meet the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from feature_repo.contracts import Action
from feature_repo.datasets.world.config import TOPICS
from feature_repo.datasets.world.day_curve import HOUR_US
from feature_repo.datasets.world.draws import Stream, uniforms
from feature_repo.datasets.world.posts import SECOND_TOPIC_WEIGHT, Posts


@dataclass(frozen=True)
class Tendency:
    """Log odds of an action: base + affinity * z + quality * q + following * f."""

    base: float
    affinity: float
    quality: float
    following: float


CLICK = Tendency(-0.55, 0.60, 0.70, 0.60)
FRESHNESS = -0.12  # per log hour of age, on the click
FATIGUE = -0.06  # per slot further down the visit, on the click

# Given a click. A follow is asked only of those who do not follow yet, a video view only of videos.
GIVEN_CLICK: dict[Action, Tendency] = {
    Action.VIDEO_VIEW: Tendency(0.4, 0.50, 0.60, 0.2),
    Action.LIKE: Tendency(-2.0, 0.45, 0.80, 0.5),
    Action.REPLY: Tendency(-3.6, 0.30, 0.40, 0.8),
    Action.REPOST: Tendency(-3.4, 0.40, 0.80, 0.4),
    Action.SHARE: Tendency(-3.9, 0.30, 0.80, 0.0),
    Action.PROFILE_CLICK: Tendency(-2.6, 0.20, 0.50, -0.8),
    Action.FOLLOW: Tendency(-3.4, 0.40, 0.70, 0.0),
}
NOT_INTERESTED = Tendency(-4.3, -0.60, -0.50, -0.5)  # given no click

_DRAW_OF = {
    Action.CLICK: (0, 0),
    Action.VIDEO_VIEW: (0, 1),
    Action.LIKE: (0, 2),
    Action.REPLY: (0, 3),
    Action.REPOST: (1, 0),
    Action.SHARE: (1, 1),
    Action.PROFILE_CLICK: (1, 2),
    Action.FOLLOW: (1, 3),
    Action.NOT_INTERESTED: (2, 0),
}
_DWELL_DRAW = (2, 1)

_GLANCE_MS = 1_500.0  # median stay without a click
_STAY_MS = 11_000.0  # median stay after one
_DWELL_SIGMA = 0.6


@dataclass(frozen=True)
class Encounter:
    """n people meeting n posts, row by row."""

    user_id: np.ndarray  # int64 (n,)
    interests: np.ndarray  # float64 (n, TOPICS)
    posts: Posts  # n
    follows: np.ndarray  # bool (n,)
    at_us: np.ndarray  # int64 (n,)
    slot: np.ndarray  # int64 (n,), 0 = top of the visit
    taste: np.ndarray  # float64 (n,), planted shift of the log affinity


def log_affinity(interests: np.ndarray, posts: Posts) -> np.ndarray:
    """Log of the share of interest in the post's topics, 0 for someone indifferent between topics; clipped to [-3, 3]."""
    row = np.arange(len(posts))
    two = posts.second_topic >= 0
    first = interests[row, posts.topic]
    second = interests[row, np.where(two, posts.second_topic, posts.topic)]
    share = np.where(two, (1 - SECOND_TOPIC_WEIGHT) * first + SECOND_TOPIC_WEIGHT * second, first)
    return np.clip(np.log(share * TOPICS + 1e-9), -3.0, 3.0)


def conditional_probabilities(meeting: Encounter) -> dict[Action, np.ndarray]:
    """P(click), P(action | click) and P(not_interested | no click), float64 (n,) each."""
    z = log_affinity(meeting.interests, meeting.posts) + meeting.taste
    age_h = np.maximum(meeting.at_us - meeting.posts.created_us, 0) / HOUR_US

    def odds(tendency: Tendency) -> np.ndarray:
        return (
            tendency.base
            + tendency.affinity * z
            + tendency.quality * meeting.posts.quality
            + tendency.following * meeting.follows
        )

    chances = {Action.CLICK: expit(odds(CLICK) + FRESHNESS * np.log1p(age_h) + FATIGUE * meeting.slot)}
    chances |= {action: expit(odds(tendency)) for action, tendency in GIVEN_CLICK.items()}
    chances[Action.VIDEO_VIEW] = np.where(meeting.posts.duration_ms > 0, chances[Action.VIDEO_VIEW], 0.0)
    chances[Action.FOLLOW] = np.where(meeting.follows, 0.0, chances[Action.FOLLOW])
    chances[Action.NOT_INTERESTED] = expit(odds(NOT_INTERESTED))
    return chances


def probabilities(meeting: Encounter) -> dict[Action, np.ndarray]:
    """P(action) of each action, float64 (n,) each: the ground truth."""
    chances = conditional_probabilities(meeting)
    click = chances[Action.CLICK]
    return {
        action: click if action is Action.CLICK else chance * (1 - click if action is Action.NOT_INTERESTED else click)
        for action, chance in chances.items()
    }


def respond(seed: int, meeting: Encounter) -> dict[Action, np.ndarray]:
    """What happens: bool (n,) per action, and `dwell` in milliseconds, float64 (n,)."""
    luck = [
        uniforms(seed, stream, meeting.user_id, meeting.posts.post_id, meeting.slot)
        for stream in (Stream.RESPONSE, Stream.RESPONSE_SOCIAL, Stream.RESPONSE_REST)
    ]
    happens = {
        action: luck[_DRAW_OF[action][0]][:, _DRAW_OF[action][1]] < chance
        for action, chance in conditional_probabilities(meeting).items()
    }
    click = happens[Action.CLICK]
    for action in GIVEN_CLICK:
        happens[action] &= click
    happens[Action.NOT_INTERESTED] &= ~click
    z = log_affinity(meeting.interests, meeting.posts) + meeting.taste
    median = np.where(click, _STAY_MS * np.exp(0.25 * z), _GLANCE_MS)
    stay = median * np.exp(_DWELL_SIGMA * ndtri(luck[_DWELL_DRAW[0]][:, _DWELL_DRAW[1]]))
    return {**happens, Action.DWELL: np.round(stay)}
