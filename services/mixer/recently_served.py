"""Which pages this process served lately: an event that names its request is joined with what was shown in it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

REQUESTS_KEPT = 20_000


@dataclass(frozen=True)
class Served:
    """What an impression of a served page has, and no client is asked for."""

    release: str
    propensity: float


class RecentlyServed:
    """The newest pages of one release by request_id, up to a bound. Safe to share between threads."""

    def __init__(self, release: str, most: int = REQUESTS_KEPT) -> None:
        # The page is a deterministic function of the request: every shown post was shown with certainty.
        self._served = Served(release, 1.0)
        self._most = most
        self._lock = threading.Lock()
        self._pages: OrderedDict[str, tuple[int, np.ndarray]] = OrderedDict()

    def add(self, request_id: str, user_id: int, post_ids: np.ndarray) -> None:
        """Remember a page: post_ids int64 (n,). A request_id that is used again stands for its newest page."""
        with self._lock:
            self._pages[request_id] = (user_id, post_ids.copy())
            self._pages.move_to_end(request_id)
            while len(self._pages) > self._most:
                self._pages.popitem(last=False)

    def of(self, request_id: str | None, user_id: int, post_id: int) -> Served | None:
        """How the post was served in the request; None where this process does not know that it showed it to the user."""
        with self._lock:
            page = self._pages.get(request_id) if request_id is not None else None
        if page is None or page[0] != user_id or not (page[1] == post_id).any():
            return None
        return self._served
