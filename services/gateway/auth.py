"""Who may move releases: whoever holds the admin token."""

from __future__ import annotations

import hmac

from services.gateway.errors import DoorError


def check_bearer(header: str | None, token: str) -> None:
    """Raise DoorError 401 without an `Authorization: Bearer ...` header, 403 with another token than `token`."""
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise DoorError(
            401,
            "token_missing",
            "this endpoint needs the admin token",
            "send the header `Authorization: Bearer <token>`; the token is in the file secrets/admin.token of the home folder",
            {"www-authenticate": 'Bearer realm="home-mixer"'},
        )
    check_token(given, token)


def check_token(given: str, token: str) -> None:
    """Raise DoorError 401 for no token, 403 for a wrong one; compares in constant time."""
    if not given.strip():
        raise DoorError(401, "token_missing", "no admin token was given", "paste the content of secrets/admin.token")
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise DoorError(403, "token_wrong", "the admin token is not the right one", "paste the content of secrets/admin.token")
