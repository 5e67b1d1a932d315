"""Whole numbers that no float holds come back to the last digit, and cost no look-up."""

from __future__ import annotations

import pytest

from feature_repo.ids import FIRST_ALLOTTED, IdTable


@pytest.mark.parametrize("user_id", [2**53 + 1, FIRST_ALLOTTED - 1, FIRST_ALLOTTED, FIRST_ALLOTTED + 1, 2**63 - 1, 2**63, -1])
def test_a_number_comes_back_as_it_was_sent(client, as_of, user_id):
    asked = {"requested_at": as_of, "count": 3}
    for sent in (user_id, str(user_id)):
        assert client.post("/for_you", json={**asked, "user_id": sent}).json()["user_id"] == user_id
    scores = client.post("/score", json={"user_id": user_id, "requested_at": as_of, "post_ids": [user_id, 1]}).json()["scores"]
    assert [row["post_id"] for row in scores] == [user_id, 1]


def test_a_home_of_whole_numbers_never_looks_an_id_up(client, as_of, monkeypatch):
    def never(*_):
        raise AssertionError("an id was looked up")

    for name in ("numbers", "known", "texts"):
        monkeypatch.setattr(IdTable, name, never)
    page = client.post("/for_you", json={"user_id": 3, "requested_at": as_of, "seen_post_ids": [1, 2**61]}).json()["posts"]
    posts = [page[0]["post_id"], 2**62 - 1]
    assert client.post("/score", json={"user_id": 3, "requested_at": as_of, "post_ids": posts}).status_code == 200
    assert client.post("/explain", json={"user_id": 3, "requested_at": as_of, "post_id": posts[0]}).status_code == 200
