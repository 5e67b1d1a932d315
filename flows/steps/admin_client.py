"""A person's answers to the gateway's admin API: by their own token, else by the one that this machine's owner can read."""

from __future__ import annotations

import httpx

from infra.settings import Settings


def answer(settings: Settings, verb: str, release_id: str, actor: str, reason: str) -> dict:
    """POST /admin/releases/{id}/{verb}; raises RuntimeError with the gateway's own words where it refuses."""
    address = f"{settings.gateway_url}/admin/releases/{release_id}/{verb}"
    token = settings.token.get_secret_value() if settings.token else settings.paths.admin_token()
    headers = {"Authorization": f"Bearer {token}"}
    try:
        response = httpx.post(address, json={"actor": actor, "reason": reason}, headers=headers, timeout=30.0)
    except httpx.TransportError as error:
        raise RuntimeError(
            f"the gateway at {settings.gateway_url} does not answer ({error}); start it with `mixer up`"
        ) from error
    if response.is_error:
        raise RuntimeError(f"the gateway refused to {verb} {release_id}: {_refusal(response)}")
    return response.json()


def in_words(verb: str, done: dict) -> str:
    """What became of a release, in one sentence, of an answer as `answer` returns it."""
    release_id = done["release_id"]
    if verb == "approve":
        return f"{release_id} is approved, and goes live within seconds: `mixer release watch {release_id}` shows it"
    if verb in ("pause", "resume"):
        return f"the rollout of {release_id} {'is paused' if done['paused'] else 'goes on'}; it is {done['state']}"
    return done.get("said") or f"{release_id} is {done['state']}"


def _refusal(response: httpx.Response) -> str:
    """The gateway's message and remedy; its bare text where the answer is not the gateway's."""
    try:
        error = response.json()["error"]
        return f"{error['message']}; {error['remedy']}"
    except (ValueError, KeyError, TypeError):
        return response.text
