"""What clients get for requests that cannot be served: a 4xx, in one shape, that names the field and the remedy."""

from __future__ import annotations

import pytest

from services.mixer.api_types import ErrorResponse


def refusal(response, status: int, code: str) -> str:
    """Check shape, status and code; returns the message."""
    assert response.status_code == status
    error = ErrorResponse.model_validate(response.json()).error
    assert error.code == code
    assert error.remedy
    return error.message


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/for_you", {"user_id": 1, "count": -3}, "count"),
        ("/for_you", {"user_id": 1, "count": 0}, "count"),
        ("/for_you", {"user_id": 1, "count": 201}, "count"),
        ("/for_you", {"user_id": 1, "count": "many"}, "count"),
        ("/for_you", {"count": 5}, "user_id"),
        ("/for_you", {"user_id": ""}, "user_id: an id may not be empty or blank"),
        ("/for_you", {"user_id": " "}, "user_id: an id may not be empty or blank"),
        ("/for_you", {"user_id": "x" * 513}, "user_id: an id of 513 characters is too long; the limit is 512"),
        ("/for_you", {"user_id": True}, "user_id: 'True' is no id"),
        ("/for_you", {"user_id": 2**64}, "user_id: a number beyond 64 bits is no id; write it as text"),
        ("/for_you", {"user_id": 10**30}, "user_id"),
        ("/for_you", {"user_id": 1.5}, "user_id"),
        ("/for_you", {"user_id": None}, "user_id"),
        ("/for_you", {"user_id": 1, "cuont": 5}, "cuont"),
        ("/for_you", {"user_id": 1, "seen_post_ids": ["x", ""]}, "seen_post_ids: at place 1: an id may not be empty"),
        ("/for_you", {"user_id": 1, "seen_post_ids": [2**70]}, "seen_post_ids: at place 0: a number beyond 64 bits"),
        ("/for_you", {"user_id": 1, "seen_post_ids": [1] * 5001}, "seen_post_ids: 5,001 posts were given; at most 5,000"),
        ("/for_you", {"user_id": 1, "product": ""}, "product"),
        ("/for_you", {"user_id": 1, "product": "\t"}, "product: nothing but white space"),
        ("/for_you", {"user_id": 1, "product": "x" * 65}, "product: String should have at most 64 characters"),
        (
            "/for_you",
            {"user_id": 1, "product": "history_before"},
            "product: surface 'history_before' is the platform's own name",
        ),
        ("/for_you", {"user_id": 1, "request_id": "x" * 129}, "request_id: String should have at most 128 characters"),
        ("/for_you", {"user_id": 1, "request_id": " "}, "request_id: nothing but white space"),
        ("/for_you", {"user_id": 1, "weights": "loudest"}, "weights"),
        ("/for_you", {"user_id": 1, "requested_at": "yesterday"}, "requested_at"),
        ("/for_you", {"user_id": 1, "requested_at": "2025-03-05T12:00:00"}, "requested_at"),
        ("/score", {"user_id": 1, "post_ids": []}, "post_ids"),
        ("/score", {"user_id": 1, "post_ids": [1] * 1001}, "post_ids: 1,001 posts were given; 1 to 1,000 are allowed"),
        ("/score", {"user_id": 1}, "post_ids"),
        ("/explain", {"user_id": 1, "post_id": 1.5}, "post_id"),
        ("/events", {"events": []}, "events"),
        ("/events", {"events": {"user_id": 1}}, "events"),
        ("/following", [1, 2], "body"),
        ("/following", "hello", "body"),
    ],
    ids=str,
)
def test_a_field_with_an_impossible_value_is_named(client, path, body, named):
    assert named in refusal(client.post(path, json=body), 422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "more"), [("/for_you", {}), ("/score", {"post_ids": [1]}), ("/explain", {}), ("/explain", {"post_id": 1})]
)
def test_weights_of_actions_that_the_release_did_not_learn_are_refused_with_those_it_did(
    client, runtime, monkeypatch, path, more
):
    monkeypatch.setitem(runtime.bundle.details, "heads", ["like", "own_1"])
    monkeypatch.setattr(runtime.ids, "own_actions", {"play": "own_1"})
    body = {"user_id": 1, "weights": "clicks_only", **more}
    said = refusal(client.post(path, json=body), 422, "weights_of_nothing_learned")
    assert "preset 'clicks_only' weighs none of the actions that this release learned to predict: like, play" in said
    assert client.post(path, json=body | {"weights": "x_2026"}).status_code == 200


@pytest.mark.parametrize("path", ["/for_you", "/following", "/score", "/explain"])
@pytest.mark.parametrize(
    "moment",
    [
        "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999-14:00", "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00", "2200-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
    ],
)  # fmt: skip
def test_a_moment_at_which_nothing_can_be_shown_is_refused_with_the_bounds(client, runtime, path, moment):
    body = {"user_id": 1, "requested_at": moment} | ({"post_ids": [1]} if path == "/score" else {})
    response = client.post(path, json=body)
    assert "requested_at" in refusal(response, 422, "moment_out_of_bounds")
    remedy = response.json()["error"]["remedy"]
    assert runtime.corpus.first_post.isoformat() in remedy
    assert "2200-01-01" in remedy


@pytest.mark.parametrize("path", ["/for_you", "/following", "/score", "/explain"])
def test_a_surface_has_whatever_name_its_owner_gave_it(client, as_of, path):
    body = {"user_id": 1, "product": "Startseite (neu) \u2013 " + "x" * 40, "requested_at": as_of}
    assert client.post(path, json=body | ({"post_ids": [1]} if path == "/score" else {})).status_code == 200


@pytest.mark.parametrize("content", [b"{bad", b"", b"\xff\xfe", b'{"user_id": 1'], ids=["broken", "empty", "binary", "cut off"])
def test_a_body_that_is_not_json_is_a_4xx(client, content):
    response = client.post("/for_you", content=content)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["message"]


def test_broken_json_says_so(client):
    refusal(client.post("/for_you", content=b"{bad"), 400, "invalid_json")


@pytest.mark.parametrize("path", ["/for_me", "/", "/timeline/for_you", "/docs"])
def test_an_unknown_path_lists_the_known_ones(client, path):
    response = client.post(path, json={"user_id": 1})
    refusal(response, 404, "unknown_path")
    assert "/for_you" in response.json()["error"]["remedy"]


def test_a_timeline_cannot_be_asked_by_get(client):
    refusal(client.get("/for_you"), 405, "method_not_allowed")


def test_every_refusal_carries_the_release(client):
    assert client.post("/for_you", json={}).headers["x-mixer-release"] == "r-test"


def test_json_is_read_whatever_the_content_type_says(client, as_of):
    content = f'{{"user_id": 1, "count": 1, "requested_at": "{as_of}"}}'
    assert client.post("/for_you", content=content, headers={"content-type": "text/plain"}).status_code == 200
