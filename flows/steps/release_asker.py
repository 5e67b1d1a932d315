"""Who asks for a release on the command line: by their own token, as people's decisions about releases are."""

from __future__ import annotations

from infra.settings import Settings
from services.gateway.auth import Gatekeeper
from services.gateway.errors import DoorError


def release_asker(settings: Settings, claimed: str, model: str) -> str:
    """The person whose token MIXER_TOKEN is; with the machine's own token, which its owner alone can read, the claimed name.

    Raises RuntimeError where the token is refused or can't be read, and where MIXER_FOUR_EYES needs a name and there is none.
    """
    try:
        token = settings.token.get_secret_value() if settings.token else settings.paths.admin_token()
        name = Gatekeeper(settings).let_in(token, "release", f"release {model}") or claimed.strip()
    except DoorError as error:
        raise RuntimeError(f"no release of {model} was made: {error.message}; {error.remedy}") from error
    except PermissionError as error:
        raise RuntimeError(
            f"no release of {model} was made: {settings.paths.admin_token_file} is readable by the machine's owner only; "
            "set MIXER_TOKEN to your own token (`mixer users add` gives one)"
        ) from error
    if settings.four_eyes and not name:
        raise RuntimeError(
            f"no release of {model} was made: with MIXER_FOUR_EYES the ledger has to know who asks; "
            "set MIXER_TOKEN to your own token, or give --as NAME"
        )
    return name
