"""Who may move releases: people by their tokens and roles, and the owner of the machine by the admin token."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

from infra.settings import Settings
from services.gateway.errors import DoorError
from services.releases.people import People

_CHALLENGE = {"www-authenticate": 'Bearer realm="home-mixer"'}
_REMEDY = "send `Authorization: Bearer <token>` with your own token (`mixer users add`), or the one in secrets/admin.token"


class Gatekeeper:
    """Checks tokens, and remembers whom it refused. Blocks on the database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._people = People(settings.platform_database_url)

    def let_in(self, token: str, action: str, what: str) -> str | None:
        """The person whose token it is; None for the admin token, which only the machine's owner can read.

        Raises DoorError 401 for no token, 403 for a wrong, expired or revoked one and for a role that does not reach; each is
        recorded.
        """
        token = token.strip()
        if not token:
            self._people.refused("", what, "no token")
            raise DoorError(401, "token_missing", "this needs a token", _REMEDY, _CHALLENGE)
        person = self._people.of_token(token)
        if person is None and hmac.compare_digest(token.encode(), self._settings.paths.admin_token().encode()):
            return None
        why = "the token is nobody's" if person is None else person.why_not(action, datetime.now(UTC))
        if why is not None:
            self._people.refused(person.name if person else "", what, why)
            raise DoorError(403, "token_wrong" if person is None else "not_allowed", why, _REMEDY)
        return person.name


def bearer(header: str | None) -> str:
    """The token of an `Authorization: Bearer ...` header; empty where there is none."""
    scheme, _, given = (header or "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
