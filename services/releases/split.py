"""Which users meet the canary: a deterministic hash of user id and rollout salt. No cookie, no stored assignment."""

from __future__ import annotations

from hashlib import blake2b

from services.releases.route import Route

BUCKETS = 10_000  # resolution of the split: 0.01 % of users


def bucket(user_id: str | int, salt: str) -> int:
    """Bucket of a user in [0, BUCKETS); uniform over users, and independent between salts. 17 and "17" are one user."""
    digest = blake2b(f"{salt}:{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def in_canary(user_id: str | int, salt: str, percent: float) -> bool:
    """Whether the user is among the first `percent` of buckets; whoever is in at 5 % is in at 25 % too."""
    return bucket(user_id, salt) < percent * BUCKETS / 100


def release_of(user_id: str | int, route: Route) -> str | None:
    """The release that serves the user under `route`; None where nothing is live."""
    if route.canary is not None and in_canary(user_id, route.salt, route.canary_percent):
        return route.canary
    return route.live
