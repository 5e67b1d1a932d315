"""Where traffic goes, as a pure function of the ledger's entries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.releases.states import ReleaseState


@dataclass(frozen=True)
class Route:
    """The pointer that the gateway follows. `salt` belongs to the rollout, so each rollout draws its own users."""

    live: str | None = None
    canary: str | None = None
    canary_percent: float = 0.0
    salt: str = ""
    shadow: str | None = None  # gets copies of requests; its answers are compared and dropped


def advance_route(route: Route, release_id: str, state: ReleaseState, percent: float | None) -> Route:
    """The route after `release_id` entered `state`."""
    if state is ReleaseState.LIVE:
        return replace(_without(route, release_id), live=release_id)
    if state is ReleaseState.CANARY:
        # The salt is the release's name: a release has one rollout in its life, and a replay of the ledger finds it again.
        return replace(_without(route, release_id), canary=release_id, canary_percent=percent or 0.0, salt=release_id)
    if state is ReleaseState.SHADOW:
        return replace(route, shadow=release_id)
    if state is ReleaseState.AWAITING_APPROVAL:
        # A canary keeps its traffic while people think.
        return route
    if state in (ReleaseState.RETIRED, ReleaseState.ROLLED_BACK):
        return _without(route, release_id)
    return route


def _without(route: Route, release_id: str) -> Route:
    """`route` with every pointer to `release_id` taken off."""
    if route.live == release_id:
        route = replace(route, live=None)
    if route.canary == release_id:
        route = replace(route, canary=None, canary_percent=0.0, salt="")
    if route.shadow == release_id:
        route = replace(route, shadow=None)
    return route
