"""What requests are ranked under: the user and the posts, each as of one moment, and what is remembered between requests.

Aggregates fade and ages grow with every microsecond, so no two requests of a user would be ranked alike. Yet nothing that
matters changes in a minute unless something happens. So the first request of a user fixes the moment, and later ones are
ranked as of that moment for as long as nothing happened: same stored rows, surface and prepared posts, and not much later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.mixer.remembered_scores import RememberedScores
from services.ranking.prepared_posts import LookedUp, PreparedPosts

if TYPE_CHECKING:
    from feature_repo.feature_rows import FeatureRows, UserFeatures
    from feature_repo.online import StoredUser
    from services.mixer.query import Query
    from services.ranking.bundle import RequestContext


class Ranker(Protocol):
    """The final probabilities, float32 (n, len(HEADS)); services.ranking.bundle.ModelBundle is one."""

    @property
    def predicts_alike(self) -> bool: ...

    def encode(self, rows: FeatureRows) -> RequestContext | None: ...

    def predict(self, rows: FeatureRows, looked_up: LookedUp | None, context: RequestContext | None) -> np.ndarray: ...


OnLookup = Callable[[int, int], None]  # hits and misses of one request's candidates


@dataclass(frozen=True)
class RankingContext:
    """One request's. `posts` is None where the request is of another time: its posts are derived for `moment_us` too."""

    user: UserFeatures
    moment_us: int  # that the user's aggregates and history stand at
    posts: PreparedPosts | None = None
    remembered: RememberedScores | None = None  # None: nothing is, not even by later requests
    on_lookup: OnLookup | None = None

    @property
    def posts_moment_us(self) -> int:
        """The moment that the posts', authors' and topics' aggregates stand at."""
        return self.moment_us if self.posts is None else self.posts.moment_us

    def looked_up(self, snapshot_rows: np.ndarray) -> LookedUp | None:
        """The candidates among the prepared posts."""
        return None if self.posts is None else LookedUp(self.posts, snapshot_rows)

    def predict(self, ranker: Ranker, rows: FeatureRows, snapshot_rows: np.ndarray) -> np.ndarray:
        """`ranker.predict` of the candidates, float32 (n, len(HEADS)); remembered ones are not computed again."""
        looked_up = self.looked_up(snapshot_rows)
        if self.remembered is None or not ranker.predicts_alike:
            return ranker.predict(rows, looked_up, None)
        found, scores = self.remembered.look_up(snapshot_rows)
        missing = np.flatnonzero(~found)
        if self.on_lookup is not None:
            self.on_lookup(len(rows) - len(missing), len(missing))
        if len(missing):
            if self.remembered.encoded is None:
                self.remembered.encoded = ranker.encode(rows)
            part = rows if len(missing) == len(rows) else rows.take(missing)
            computed = ranker.predict(part, self.looked_up(snapshot_rows[missing]), self.remembered.encoded)
            self.remembered.add(snapshot_rows[missing], computed)
            scores[missing] = computed
        return scores


@dataclass(frozen=True)
class _Held:
    """A user's context on one surface, with all that must be as it was for it to be used again."""

    stored: bytes
    snapshot: str
    posts_moment_us: int
    user: UserFeatures
    moment_us: int
    scores: RememberedScores


class RankingContexts:
    """The contexts of the users who asked last. Safe between threads."""

    def __init__(self, users: int, ttl_s: float, on_lookup: OnLookup | None = None) -> None:
        """Keep up to `users` contexts, each for requests of up to `ttl_s` seconds after its moment; 0 users keep nothing."""
        self._users = users
        self._ttl_us = round(ttl_s * 1e6)
        self._on_lookup = on_lookup
        self._held: OrderedDict[tuple[int, str], _Held] = OrderedDict()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def of(self, stored: StoredUser, query: Query) -> RankingContext:
        """The context of `query`, whose user the store holds as `stored`."""
        posts = query.corpus.posts_for(query.now_us)
        if posts is None or not self._users:
            return RankingContext(stored.at(query.now_us), query.now_us, posts)
        held = self._held_for(stored, query, posts)
        return RankingContext(held.user, held.moment_us, posts, held.scores, self._on_lookup)

    def _held_for(self, stored: StoredUser, query: Query, posts: PreparedPosts) -> _Held:
        key = (query.user_id, query.surface)
        with self._changing:
            held = self._held.get(key)
            if held is None or not self._still_true(held, stored, query, posts):
                held = _Held(
                    stored.version,
                    posts.version,
                    posts.moment_us,
                    stored.at(query.now_us),
                    query.now_us,
                    RememberedScores(),
                )
                self._held[key] = held
            self._held.move_to_end(key)
            if len(self._held) > self._users:
                self._held.popitem(last=False)
        return held

    def _still_true(self, held: _Held, stored: StoredUser, query: Query, posts: PreparedPosts) -> bool:
        now = (stored.version, posts.version, posts.moment_us)
        return now == (held.stored, held.snapshot, held.posts_moment_us) and 0 <= query.now_us - held.moment_us < self._ttl_us
