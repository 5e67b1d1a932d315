"""A home whose owner writes ids as text: requests and answers speak text, the platform works with numbers inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from feature_repo.ids import FIRST_ALLOTTED, IdTable
from feature_repo.lake import Lake
from infra.settings import Settings
from services.intake.producer import EventProducer
from services.mixer.app import create_app
from services.mixer.runtime import MixerRuntime
from services.mixer.warm_up import warm_up
from tests.free_ports import free_port
from tests.patient import patient
from tests.small_home import SMALL, make_home, untrained_bundle

COLUMNS = {"user_id": "user", "author_id": "user", "target_id": "user", "post_id": "post", "in_reply_to": "post"}


def written(kind: str, number: int) -> str:
    """The owner's id of what the simulation calls `number`."""
    return f"{kind}/ü {number:03}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("text-home"), threads=1, broker_port=free_port())
    ids = IdTable(settings.platform_database_url)

    def rename(lake: Lake) -> None:
        for file in lake.root.rglob("*.parquet"):
            table = pl.read_parquet(file)
            for column, kind in COLUMNS.items():
                if column in table.columns and not (numbers := table[column].drop_nulls().unique()).is_empty():
                    texts = pl.Series([written(kind, number) for number in numbers])
                    table = table.with_columns(pl.col(column).replace_strict(numbers, ids.numbers(kind, texts), default=None))
            table.write_parquet(file)

    make_home(settings, replace(SMALL, users=40, posts=120), rename)
    for kind in ("user", "author", "post"):
        ids.set_form(kind, "text")
    untrained_bundle(settings, settings.paths.bundles / "untrained")
    return settings


@pytest.fixture(scope="module")
def runtime(settings):
    producer = EventProducer(settings, delivery_timeout_ms=200)
    runtime = patient(MixerRuntime(settings, {"release_id": "r-text", "bundle": "untrained"}, producer))
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def client(runtime):
    with TestClient(create_app(runtime)) as client:
        yield client


@pytest.fixture
def ask(client, runtime):
    """POST as of the features' moment; the answer's body."""

    def asked(path: str, **body) -> dict:
        moment = np.datetime64(runtime.corpus.snapshot.as_of_us, "us").item().isoformat() + "Z"
        response = client.post(path, json={"requested_at": moment, **body})
        assert response.status_code == 200, response.text
        return response.json()

    return asked


@pytest.fixture
def looked_up(monkeypatch) -> list[str]:
    """What is asked of the table, call by call."""
    calls: list[str] = []
    for name in ("numbers", "known", "texts"):
        method = getattr(IdTable, name)
        monkeypatch.setattr(
            IdTable, name, lambda self, *given, _name=name, _method=method: (calls.append(_name), _method(self, *given))[1]
        )
    return calls


USER = written("user", 5)


def test_a_page_speaks_the_owners_ids(ask, settings):
    answer = ask("/for_you", user_id=USER, count=20)
    assert answer["user_id"] == USER
    assert len(answer["posts"]) == 20
    posts, authors = ({post[column] for post in answer["posts"]} for column in ("post_id", "author_id"))
    assert all(post.startswith("post/ü ") for post in posts)
    assert all(author.startswith("user/ü ") for author in authors)
    numbers = IdTable(settings.platform_database_url).known("post", pl.Series(sorted(posts)))
    assert numbers.min() >= FIRST_ALLOTTED
    lake = Lake(settings.paths.lake).read("posts")
    assert numbers.is_in(lake["post_id"].implode()).all()


def test_seen_posts_are_known_by_their_text(ask):
    first = ask("/for_you", user_id=USER, count=5)["posts"]
    seen = [post["post_id"] for post in first]
    again = ask("/for_you", user_id=USER, count=5, seen_post_ids=[*seen, "never heard of", 17])["posts"]
    assert not set(seen) & {post["post_id"] for post in again}


def test_scores_come_back_under_the_ids_of_the_request(ask):
    page = ask("/for_you", user_id=USER, count=3)["posts"]
    asked = ["never heard of", *(post["post_id"] for post in reversed(page)), "7"]
    answer = ask("/score", user_id=USER, post_ids=asked)
    assert [row["post_id"] for row in answer["scores"]] == asked
    assert [row["known"] for row in answer["scores"]] == [False, True, True, True, False]
    assert answer["user_id"] == USER


def test_an_explanation_is_asked_for_by_text(ask):
    page = ask("/for_you", user_id=USER, count=5)["posts"]
    explained = ask("/explain", user_id=USER, count=5)
    assert [post["post_id"] for post in explained["posts"]] == [post["post_id"] for post in page]
    one = ask("/explain", user_id=USER, count=5, post_id=page[2]["post_id"])["posts"][0]
    assert (one["post_id"], one["outcome"], one["position"]) == (page[2]["post_id"], "selected", 2)
    unknown = ask("/explain", user_id=USER, post_id="never heard of")["posts"][0]
    assert (unknown["post_id"], unknown["outcome"]) == ("never heard of", "not_proposed")
    assert "The platform knows nothing about this post yet." in unknown["why"]


@pytest.mark.parametrize("stranger", ["user/ü 5", " user/ü 005", 5, 2**62, -7])
def test_a_user_that_nobody_knows_is_served_as_a_stranger_and_gets_no_number(ask, settings, stranger):
    answer = ask("/for_you", user_id=stranger, count=10)
    assert answer["user_id"] == str(stranger)
    assert len(answer["posts"]) == 10
    assert "we do not know your taste yet" in answer["posts"][0]["reason"]
    known = IdTable(settings.platform_database_url).known_number("user", stranger)
    assert known == (5 if stranger == 5 else None)


def test_what_was_looked_up_once_is_remembered(ask, looked_up):
    ask("/for_you", user_id=written("user", 9), count=40)
    del looked_up[:]
    ask("/for_you", user_id=written("user", 9), count=40)
    assert looked_up == []


def test_a_batch_of_events_allots_numbers_to_new_ids(client, runtime, settings):
    event = {"user_id": "newcomer", "post_id": written("post", 3), "action": "click"}
    assert client.post("/events", json={"events": [event]}).status_code == 503  # there is no broker; the number stays
    number = IdTable(settings.platform_database_url).known_number("user", "newcomer")
    assert number >= FIRST_ALLOTTED


def test_the_warm_up_asks_as_clients_do(runtime):
    import asyncio

    assert asyncio.run(warm_up(runtime)), runtime.not_ready
