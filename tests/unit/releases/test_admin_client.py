"""A person's commands answer in a sentence, and a refusal in the gateway's own words."""

from __future__ import annotations

import httpx
import pytest

from flows.steps import admin_client
from flows.steps.admin_client import answer, in_words
from infra.settings import Settings


@pytest.mark.parametrize(
    ("verb", "done", "words"),
    [
        ("approve", {"state": "awaiting_approval"}, "r2 is approved, and goes live within seconds"),
        ("pause", {"state": "canary", "paused": True}, "the rollout of r2 is paused; it is canary"),
        ("resume", {"state": "canary", "paused": False}, "the rollout of r2 goes on; it is canary"),
        ("promote", {"state": "canary", "said": "canary r2 at 50 %"}, "canary r2 at 50 %"),
        ("rollback", {"state": "rolled_back"}, "r2 is rolled_back"),
    ],
)
def test_what_became_of_a_release_is_one_sentence(verb, done, words):
    assert in_words(verb, {"release_id": "r2", **done}).startswith(words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"error": {"code": "forbidden", "message": "Bo is a viewer", "remedy": "ask an approver"}},
            "Bo is a viewer; ask an approver",
        ),
        ("Bad Gateway", "Bad Gateway"),
    ],
)
def test_a_refusal_is_told_in_the_gateways_words(tmp_path, monkeypatch, content, words):
    request = httpx.Request("POST", "http://door")
    said = {"json": content} if isinstance(content, dict) else {"text": content}
    monkeypatch.setattr(admin_client.httpx, "post", lambda *_, **__: httpx.Response(403, request=request, **said))
    with pytest.raises(RuntimeError, match=f"refused to approve r2: {words}"):
        answer(Settings(home=tmp_path, token="t"), "approve", "r2", "Bo", "why")
