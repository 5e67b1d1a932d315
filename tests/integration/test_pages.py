"""The pages: what they show, that nothing of it is executable, and that nothing comes from another host."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import polars as pl
import pytest
from markupsafe import escape

from feature_repo.ids import IdTable
from feature_repo.lake import Lake
from feature_repo.snapshot import POINTER
from infra.settings import Settings
from monitoring.canary.judge import JudgePolicy, Place, judge
from monitoring.canary.looks import Looks
from monitoring.outcomes.evidence import Outcomes
from services.gateway.pages.post_facts import post_facts
from tests.contract_rows import contract_rows
from tests.integration.gateway_rig import running_gateway, user_in
from tests.integration.small_arm import SmallArm
from tests.outcome_rows import add_outcomes

pytestmark = pytest.mark.slow

ATTACK = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture
def rig(tmp_path):
    with running_gateway(tmp_path) as running:
        yield running


class Seen(HTMLParser):
    """Tags, addresses and event-handler attributes of a page, and form fields without a label."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.unlabelled: list[str] = []
        self._labels = 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.handlers += [name for name in found if name.startswith("on") or name == "style"]
        if tag in ("script", "img", "link", "iframe", "source"):
            self.loaded.append(found.get("src") or found.get("href") or "")
        self._labels += tag == "label"
        if tag in ("input", "select", "textarea") and not self._labels:
            self.unlabelled.append(found.get("name", "?"))

    def handle_endtag(self, tag):
        self._labels -= tag == "label"


def furnish(rig) -> None:
    """A live release, a rolled-back canary with looks, and a question that waits; with hostile text everywhere."""
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    looks, url = Looks(rig.settings.platform_database_url), rig.settings.outcomes_url
    for first in (0, 2_000):
        add_outcomes(url, "r2", "r1", 3, {"r1": 300, "r2": 300}, first=first, harm=0.3)
        evidence = Outcomes(url).evidence("r2", [(3, 0.5)])
        verdict = judge(evidence, JudgePolicy.default(), Place(last=True, step_s=3_600.0, left_s=0.0))
        looks.add("r2", first, verdict.to_dict())
    rig.ledger.transition("r2", "rolled_back", ATTACK, ATTACK, {"verdict": verdict.to_dict(), "note": ATTACK})
    rig.canary(SmallArm("r3"))
    rig.ledger.transition("r3", "awaiting_approval", ATTACK, ATTACK)
    rig.approvals.request("r3", ATTACK, {"note": ATTACK}, ATTACK)
    drift = rig.settings.paths.reports / "drift"
    drift.mkdir(parents=True)
    (drift / "latest.json").write_text(
        '{"verdict": "retrain", "planted": "post.age shifted", "reasons": ["<b>scores moved</b>"], '
        '"columns": [{"name": "<i>post.age</i>", "psi": 0.7, "drifted": true}]}'
    )


def test_the_control_room_before_the_first_release(rig):
    page = rig.client.get("/")
    assert page.status_code == 200
    assert "Nothing was released yet" in page.text


def test_a_rollback_of_the_live_release_is_offered_only_where_another_takes_over(rig):
    rig.live(SmallArm("r1"))
    page = rig.client.get("/").text
    assert "r1 can&#39;t be rolled back: no other release was live before it" in page
    assert 'value="rollback"' not in page
    rig.ask_for_approval(SmallArm("r2"))
    rig.approvals.approve("r2", "Ada", "clear")
    rig.ledger.transition("r2", "live", "Ada", "clear")
    rig.until(lambda: rig.client.get("/healthz").json()["live"] == "r2")
    page = rig.client.get("/").text
    assert 'action="/releases/r2/decision"' in page
    assert 'value="rollback"' in page


def test_the_control_room_shows_what_is_live_what_waits_and_why(rig):
    furnish(rig)
    page = rig.client.get("/").text
    assert "r3 waits for your answer" in page
    assert "chain verified" in page
    assert "first release" in page
    assert "Planted on purpose: post.age shifted" in page
    judged = rig.client.get("/?canary=r2").text
    assert "roll back" in judged
    assert judged.count('class="says-worse"') >= 2
    assert "over 2 looks" in judged


def test_nothing_on_a_page_is_executable_or_from_another_host(rig):
    furnish(rig)
    for path in (
        "/",
        "/?canary=r2",
        "/?canary=%3Cscript%3E",
        "/releases/r2?beside=r1",
        "/experiments",
        "/timeline?user_id=7",
        "/docs",
    ):
        answer = rig.client.get(path)
        seen = Seen(answer.text)
        assert answer.status_code == 200
        assert seen.loaded == ["/assets/mark.svg", "/feed.atom", "/assets/style.css", "/assets/page.js", "/assets/mark.svg"], (
            path
        )
        assert seen.handlers == [], path
        assert seen.tags.count("script") == 1, path
        assert seen.unlabelled == [], path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_a_release_has_a_page_alone_or_beside_another_and_a_feed_tells_what_became_of_it(rig):
    furnish(rig)
    alone = rig.client.get("/releases/r2").text
    assert "against r1" in alone
    assert "What became of it" in alone
    both = rig.client.get("/releases/r2?beside=r1").text
    assert "r2 beside r1" in both
    assert "It was no canary" in both
    for unknown in ("/releases/r9", "/releases/r2?beside=r9"):
        assert rig.client.get(unknown).status_code == 404
    feed = rig.client.get("/feed.atom")
    found = ElementTree.fromstring(feed.text)
    entries = found.findall("{http://www.w3.org/2005/Atom}entry")
    assert len(entries) == len(rig.ledger.entries())
    assert entries[0].findtext("{http://www.w3.org/2005/Atom}author/{http://www.w3.org/2005/Atom}name") == ATTACK


def test_the_assets_name_no_other_host(rig):
    for name in ("style.css", "page.js", "mark.svg"):
        text = rig.client.get(f"/assets/{name}").text
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
        assert "@import" not in text
    assert rig.client.get("/assets/../app.py").status_code == 404


def test_a_broken_chain_is_said_loudly(rig):
    furnish(rig)
    rig.ledger.remove_arm("r2")
    import sqlite3

    with sqlite3.connect(rig.settings.paths.platform_database) as connection:
        connection.execute("DROP TRIGGER ledger_refuses_update")
        connection.execute("UPDATE ledger SET reason = 'all is well' WHERE seq = 2")
    connection.close()
    page = rig.client.get("/").text
    assert "chain is broken" in page
    assert "entry 2 (r1 live) was changed" in page


def test_the_form_answers_with_the_right_token_only(rig):
    furnish(rig)
    form = {"actor": "Ada", "reason": "clear", "action": "approve"}
    assert rig.client.post("/releases/r3/decision", data={**form, "token": ""}).status_code == 401
    refused = rig.client.post("/releases/r3/decision", data={**form, "token": "guess"})
    assert refused.status_code == 403
    assert "the token is nobody&#39;s" in refused.text
    assert rig.approvals.decision("r3") is None
    token = rig.settings.paths.admin_token()
    accepted = rig.client.post("/releases/r3/decision", data={**form, "token": token})
    assert (accepted.status_code, accepted.headers["location"]) == (303, "/?done=approve")
    assert rig.approvals.decision("r3").actor == "Ada"
    assert token not in rig.client.get("/").text


def test_a_form_without_a_reason_is_refused(rig):
    furnish(rig)
    form = {"actor": "Ada", "reason": " ", "action": "rollback", "token": rig.settings.paths.admin_token()}
    answer = rig.client.post("/releases/r3/decision", data=form)
    assert answer.status_code == 422
    assert rig.ledger.route().canary == "r3"


def test_a_timeline_is_cards_with_reasons_and_a_funnel(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    user = user_in(True, "r2")
    page = rig.client.get(f"/timeline?user_id={user}").text
    assert page.count('class="card post"') == 12
    assert "by <b>r2</b>" in page
    assert "You often finish videos of this author" in page
    assert "Seen posts" in page
    assert "What each expected action adds" in page


def test_a_timeline_of_nobody_is_refused_kindly(rig):
    rig.live(SmallArm("r1"))
    for user in (" ", "x" * 513, "<script>\0"):
        answer = rig.client.get("/timeline", params={"user_id": user})
        assert (user, answer.status_code) == (user, 400)
        assert "give a whole number or text" in answer.text
        assert "<script>" not in answer.text


@pytest.mark.parametrize("user", ["-3", "ada/7", "007", "1.5", "<script>", "ü 7 ", str(2**53 + 1), str(2**62 - 1), str(2**63)])
def test_a_users_id_travels_as_the_text_that_was_typed(rig, user):
    arm_ = rig.live(SmallArm("r1"))
    answer = rig.client.get("/timeline", params={"user_id": user})
    assert answer.status_code == 200
    assert {asked["user_id"] for asked in arm_.asked} == {user}
    shown = escape(user)
    assert f'value="{shown}"' in answer.text
    assert f"The timeline of {shown}" in answer.text


def test_a_posts_card_has_its_facts_whatever_form_its_id_has(tmp_path):
    settings = Settings(home=tmp_path)
    ids = IdTable(settings.platform_database_url)
    posts = contract_rows()["posts"].head(3).with_columns(post_id=ids.numbers("post", pl.Series(["7", "p/ü", str(2**62)])))
    lake = Lake(settings.paths.lake)
    lake.write("posts", posts.tail(2), "part")
    posts.head(1).drop("embedding").write_parquet(lake.root / "posts" / "from_before_embeddings.parquet")
    ids.codes("topic", pl.Series(["politics"]))
    facts = post_facts(settings, [7, "p/ü", 2**62, "unknown"])
    assert {topic for one in facts.values() for topic in one["topics"]} <= {"politics", *(f"topic {n}" for n in range(1, 99))}
    assert all(facts[post]["topics"] for post in facts)
    assert {post: one["duration_ms"] for post, one in facts.items()} == {7: 9000, "p/ü": 9000, 2**62: 9000}


def test_a_timeline_may_be_asked_for_a_moment(rig):
    arm_ = rig.live(SmallArm("r1"))
    assert rig.client.get("/timeline", params={"user_id": 7, "at": "2022-05-03T12:00:00Z"}).status_code == 200
    assert arm_.asked[-1]["requested_at"] == "2022-05-03T12:00:00+00:00"
    assert rig.client.get("/timeline", params={"user_id": 7, "at": "yesterday"}).status_code == 400


def test_where_an_old_log_is_replayed_now_is_its_newest_event(rig):
    arm_ = rig.live(SmallArm("r1"))
    stream = rig.settings.paths.stream
    stream.mkdir(parents=True)
    (stream / "progress.json").write_text('{"newest_event_us": 1651579200000000}')
    page = rig.client.get("/timeline?user_id=7").text
    assert arm_.asked[-1]["requested_at"] == "2022-05-03T12:00:00+00:00"
    assert "3 May 2022, 12:00:00" in page


def test_before_the_stream_worker_tells_of_events_now_is_the_moment_of_the_features(rig):
    arm_ = rig.live(SmallArm("r1"))
    folder = rig.settings.paths.snapshots / "v1"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text('{"version": "v1", "as_of_us": 1651579200000000}')
    (folder.parent / POINTER).write_text('{"version": "v1"}')
    rig.client.get("/timeline?user_id=7")
    assert arm_.asked[-1]["requested_at"] == "2022-05-03T12:00:00+00:00"


def test_before_the_first_release_the_api_page_is_the_codes_own_and_says_so(rig):
    answer = rig.client.get("/docs")
    assert answer.status_code == 200
    assert "No release is live: `mixer start` makes the first" in answer.text
    assert "/for_you" in answer.text
    assert "events[].post_id" in answer.text
    assert rig.client.get("/openapi.json").json()["openapi"] == "3.1.0"
    assert rig.client.get("/release").status_code == 503


def test_the_api_page_is_the_live_releases_document(rig):
    rig.live(SmallArm("r1"))
    page = rig.client.get("/docs").text
    assert "/for_you" in page
    assert "Posts wanted, 1 to 200." in page
    assert f"curl {rig.client.base_url}/for_you" in page
    assert "-d &#39;{&#34;user_id&#34;: 7, &#34;count&#34;: 20}&#39;" in page
    assert rig.client.get("/openapi.json").json()["openapi"] == "3.1.0"
    assert rig.client.get("/release").json() == {"release_id": "r1"}


def test_reports_are_served_from_their_folder_only(rig, tmp_path):
    assert rig.client.get("/reports/data_docs/index.html").status_code == 404
    docs = rig.settings.paths.reports / "data_docs"
    docs.mkdir(parents=True)
    (docs / "index.html").write_text("<h1>suites</h1>")
    rig.settings.paths.admin_token()
    answer = rig.client.get("/reports/data_docs/")
    assert "suites" in answer.text
    assert "http" not in answer.headers["content-security-policy"]
    for path in (
        "/reports/../secrets/admin.token",
        "/reports/%2e%2e/secrets/admin.token",
        "/reports/..%2fsecrets%2fadmin.token",
    ):
        assert rig.client.get(path).status_code == 404
    (docs / "link").symlink_to(rig.settings.paths.admin_token_file)
    assert rig.client.get("/reports/data_docs/link").status_code == 404
