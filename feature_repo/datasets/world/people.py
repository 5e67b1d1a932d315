"""The people of the simulated world: who they are, as functions of (seed, user id)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtri

from feature_repo.datasets.world.config import COMMUNITIES, TOPICS
from feature_repo.datasets.world.draws import Stream, uniforms

LANGUAGES = ("en", "es", "pt", "ja", "de")

# Interests are Dirichlet: a community cares for a few topics, and its members around those.
_MAIN_TOPICS = 4
_MAIN_CONCENTRATION = 1.5
_OTHER_CONCENTRATION = 0.12

_MEAN_VISITS_A_DAY = 1.0
_VISITS_SIGMA = 0.8
_MEAN_PATIENCE = 5.0  # posts a visit
_PATIENCE_SIGMA = 0.4
_QUALITY_SIGMA = 0.7


@dataclass(frozen=True)
class People:
    """Attributes of n people, in the order asked for."""

    user_id: np.ndarray  # int64 (n,)
    community: np.ndarray  # int64 (n,), hidden from the platform
    region: np.ndarray  # int64 (n,), the community as the platform sees it: right for four in five
    language: np.ndarray  # int64 (n,), index into LANGUAGES
    interests: np.ndarray  # float64 (n, TOPICS), rows sum to 1
    visits_a_day: np.ndarray  # float64 (n,), expected
    patience: np.ndarray  # float64 (n,), expected posts a visit
    craft: np.ndarray  # float64 (n,), mean quality of the posts that this person writes
    account_age_days: np.ndarray  # float64 (n,) at the world's first day

    def __len__(self) -> int:
        return len(self.user_id)


def people(seed: int, user_ids: np.ndarray) -> People:
    """The people with these ids."""
    ids = np.asarray(user_ids, np.int64)
    who, habits, rest = (uniforms(seed, Stream.PERSON, ids, part) for part in range(3))
    community = community_of(who[:, 0])
    guess = np.floor(who[:, 2] * COMMUNITIES).astype(np.int64)
    visits = np.exp(_VISITS_SIGMA * ndtri(habits[:, 0]) - _VISITS_SIGMA**2 / 2)
    patience = np.exp(_PATIENCE_SIGMA * ndtri(habits[:, 1]) - _PATIENCE_SIGMA**2 / 2)
    native = community % len(LANGUAGES) * (community % 3 == 0)
    return People(
        user_id=ids,
        community=community,
        region=np.where(who[:, 1] < 0.8, community, guess),
        language=np.where(who[:, 3] < 0.9, native, 0),
        interests=_interests(seed, ids, community),
        visits_a_day=_MEAN_VISITS_A_DAY * visits,
        patience=_MEAN_PATIENCE * patience,
        craft=_QUALITY_SIGMA * ndtri(habits[:, 2]),
        account_age_days=30 + 2_500 * rest[:, 0] ** 2,
    )


def community_of(draw: np.ndarray) -> np.ndarray:
    """Communities of unequal size: the first is about five times the last."""
    return np.minimum(np.floor(COMMUNITIES * draw**1.4), COMMUNITIES - 1).astype(np.int64)


def _interests(seed: int, ids: np.ndarray, community: np.ndarray) -> np.ndarray:
    every_topic = np.arange(TOPICS)
    order = np.stack([uniforms(seed, Stream.COMMUNITY_TOPIC, every_topic, group)[:, 0] for group in range(COMMUNITIES)])
    main = order.argsort(axis=1).argsort(axis=1) < _MAIN_TOPICS
    concentration = np.where(main, _MAIN_CONCENTRATION, _OTHER_CONCENTRATION)[community]
    quarters = [uniforms(seed, Stream.INTEREST, ids, block) for block in range(TOPICS // 4)]
    gamma = gammaincinv(concentration, np.concatenate(quarters, axis=1)) + 1e-6
    return gamma / gamma.sum(axis=1, keepdims=True)
