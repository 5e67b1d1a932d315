"""Which users are in an experiment, and in which arm: hashes of user id and names. No cookie, no stored assignment.

A layer's users are parted among its experiments, so that no user is in two of one layer; between layers, draws are independent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from feature_repo.served_messages import CONTROL, TREATMENT, trial_of
from services.releases.split import BUCKETS, bucket


@dataclass(frozen=True)
class Experiment:
    """One experiment. Its users are those in buckets `first` to `last` - 1 of its layer, of BUCKETS; half get each arm.

    knobs: what the treatment turns; see services/mixer/knobs.py.
    """

    name: str
    layer: str
    first: int
    last: int
    knobs: dict[str, Any] = field(default_factory=dict)
    started_at: str = ""  # ISO 8601, UTC
    started_by: str = ""
    why: str = ""
    stopped_at: str | None = None
    stopped_by: str | None = None
    stopped_why: str | None = None

    @property
    def share(self) -> float:
        """Of all users, 0..1."""
        return (self.last - self.first) / BUCKETS

    @property
    def outcome_key(self) -> str:
        """Under which its outcomes are kept."""
        return trial_of(self.name)

    def arm(self, user_id: str | int) -> str | None:
        """The user's arm; None for a user outside of the experiment."""
        if not self.first <= bucket(user_id, f"layer {self.layer}") < self.last:
            return None
        return TREATMENT if bucket(user_id, f"experiment {self.name}") < BUCKETS // 2 else CONTROL


def arms_of(user_id: str | int, running: Iterable[Experiment]) -> dict[str, str]:
    """The user's arm by experiment, of those that the user is in."""
    return {one.name: arm for one in running if (arm := one.arm(user_id)) is not None}


def room_in(layer: Iterable[Experiment], wanted: int) -> int | None:
    """The first bucket of a free stretch of `wanted` buckets among a layer's running experiments; None without one."""
    start = 0
    for one in sorted(layer, key=lambda one: one.first):
        if one.first - start >= wanted:
            return start
        start = max(start, one.last)
    return start if BUCKETS - start >= wanted else None
