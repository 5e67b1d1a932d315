"""An error that nobody foresaw says which release made it: the door takes an answer without a name for no release's."""

from __future__ import annotations

from types import SimpleNamespace

from starlette.testclient import TestClient

from services.mixer.app import create_app
from services.mixer.metrics import MixerMetrics


def test_an_unforeseen_error_names_its_release():
    runtime = SimpleNamespace(release_id="r-test", metrics=MixerMetrics("r-test"))  # all else that an answer needs is missing
    client = TestClient(create_app(runtime), raise_server_exceptions=False)
    answer = client.post("/for_you", json={"user_id": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert answer.headers["x-mixer-release"] == "r-test"


def test_a_release_that_is_not_loaded_yet_says_so_for_the_door_too():
    client = TestClient(create_app(None))
    answer = client.post("/for_you", json={"user_id": 1})
    assert (answer.status_code, answer.headers["x-mixer-loading"]) == (503, "1")
