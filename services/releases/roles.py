"""What each role may do with releases. Pure."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Each role may do what those before it may."""

    VIEWER = "viewer"  # see the state of releases
    OPERATOR = "operator"  # ask for a release, pause, resume, and take a release off the traffic
    APPROVER = "approver"  # bring a release onto more traffic

    def may(self, action: str) -> bool:
        """Whether the role reaches for `action`, one of NEEDED."""
        order = list(Role)
        return order.index(self) >= order.index(NEEDED[action])


NEEDED = {
    "state": Role.VIEWER,
    **dict.fromkeys(("release", "pause", "resume", "abort", "reject", "rollback"), Role.OPERATOR),
    **dict.fromkeys(("approve", "promote"), Role.APPROVER),
}
