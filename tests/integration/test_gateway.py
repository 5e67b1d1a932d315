"""The gateway in front of real processes: who answers, what a switch does, what a sick canary does."""

from __future__ import annotations

import threading

import pytest

from services.experiments.store import Experiments
from services.releases.people import People
from services.releases.roles import Role
from services.releases.states import ReleaseState
from tests.integration.gateway_rig import CANARY_PERCENT, running_gateway, user_in
from tests.integration.small_arm import SmallArm

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(tmp_path):
    with running_gateway(tmp_path) as running:
        yield running


def test_each_user_meets_the_release_that_the_split_says_and_always_the_same(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    for canary, release, arm in ((True, "r2", "canary"), (False, "r1", "live")):
        user = user_in(canary, "r2")
        for path in ("/for_you", "/following", "/score", "/explain"):
            answer = rig.client.post(path, json={"user_id": user})
            assert (answer.status_code, answer.headers["x-mixer-release"]) == (200, release)
            assert answer.headers["x-mixer-arm"] == arm


def test_the_body_goes_through_unchanged_and_so_does_the_answer(rig):
    arm = rig.live(SmallArm("r1"))
    asked = {"user_id": 7, "count": 3, "request_id": "mine", "text": "naïve ✓"}
    answer = rig.client.post("/for_you", json=asked)
    assert {name: arm.asked[0][name] for name in asked} == asked
    assert (answer.json()["request_id"], len(answer.json()["posts"])) == ("mine", 3)


def test_a_batch_of_events_goes_where_its_first_user_goes(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    user = user_in(True, "r2")
    answer = rig.client.post("/events", json={"events": [{"user_id": user, "action": "click"}]})
    assert answer.headers["x-mixer-release"] == "r2"


def test_a_request_without_a_user_is_refused_with_a_remedy_and_never_passed_on(rig):
    arm = rig.live(SmallArm("r1"))
    answer = rig.client.post("/for_you", content=b'{"user_id": " "}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "user_id_invalid")
    assert answer.json()["error"]["remedy"]
    assert arm.asked == []


def test_with_nothing_live_the_door_says_so(rig):
    answer = rig.client.post("/for_you", json={"user_id": 7})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "nothing_live")
    assert rig.client.get("/healthz").status_code == 503


def test_a_request_under_way_survives_the_switch(rig):
    rig.live(SmallArm("r1"))
    slow = rig.canary(SmallArm("r2", hold=True))
    user, answers = user_in(True, "r2"), []
    asking = threading.Thread(target=lambda: answers.append(rig.client.post("/for_you", json={"user_id": user})))
    asking.start()
    assert slow.arrived.wait(20)
    rolled_back = rig.admin("/admin/releases/r2/rollback", {"actor": "Ada", "reason": "too slow"})
    assert rolled_back.json()["state"] == "rolled_back"
    # The route has moved: the same user is served by r1 now, while the first request still waits for r2.
    assert rig.client.post("/for_you", json={"user_id": user}).headers["x-mixer-release"] == "r1"
    assert answers == []
    slow.let_go.set()
    asking.join(timeout=20)
    assert (answers[0].status_code, answers[0].headers["x-mixer-release"]) == (200, "r2")
    assert answers[0].json()["release"] == "r2"


def test_a_switch_made_by_another_process_is_followed(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    user = user_in(True, "r2")
    assert rig.client.post("/for_you", json={"user_id": user}).headers["x-mixer-release"] == "r2"
    rig.ledger.transition("r2", "rolled_back", "judge", "log loss is worse")  # the ledger, not the gateway, is told
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": user}).headers["x-mixer-release"] == "r1")


def test_a_canary_that_is_not_ready_costs_its_users_nothing_and_is_counted(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", ready=False))
    user = user_in(True, "r2")
    rig.until(lambda: "x-mixer-fallback" in rig.client.post("/for_you", json={"user_id": user}).headers)
    answer = rig.client.post("/for_you", json={"user_id": user})
    assert (answer.status_code, answer.headers["x-mixer-release"]) == (200, "r1")
    assert answer.headers["x-mixer-fallback"] == "r2: unhealthy"
    assert 'mixer_gateway_fallbacks_total{reason="unhealthy",release="r2"}' in rig.client.get("/metrics").text


def test_a_canary_that_recovers_gets_its_users_back(rig):
    rig.live(SmallArm("r1"))
    sick = rig.canary(SmallArm("r2", ready=False))
    user = user_in(True, "r2")
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": user}).headers["x-mixer-release"] == "r1")
    sick.ready = True
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": user}).headers["x-mixer-release"] == "r2")


def test_a_canary_that_answers_500_is_answered_for(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", status=500))
    answer = rig.client.post("/score", json={"user_id": user_in(True, "r2")})
    assert (answer.status_code, answer.headers["x-mixer-release"]) == (200, "r1")
    assert answer.headers["x-mixer-fallback"] == "r2: answered 500"


def test_events_are_never_sent_twice(rig):
    live = rig.live(SmallArm("r1"))
    canary = rig.canary(SmallArm("r2", status=500))
    answer = rig.client.post("/events", json={"user_id": user_in(True, "r2")})
    assert (answer.status_code, answer.headers["x-mixer-release"]) == (500, "r2")
    assert (len(canary.asked), len(live.asked)) == (1, 0)


def test_a_canary_whose_process_is_gone_is_answered_for(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    rig.ledger.register_arm("r2", "http://127.0.0.1:1")  # nothing listens there
    user = user_in(True, "r2")
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": user}).headers["x-mixer-release"] == "r1")


def test_an_error_of_the_client_is_not_hidden(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", status=422))
    answer = rig.client.post("/for_you", json={"user_id": user_in(True, "r2"), "count": -3})
    assert (answer.status_code, answer.headers["x-mixer-release"]) == (422, "r2")


def test_a_live_release_that_is_gone_is_an_error_that_names_it(rig):
    rig.live(SmallArm("r1"))
    rig.ledger.register_arm("r1", "http://127.0.0.1:1")
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": 7}).status_code == 502)
    answer = rig.client.post("/for_you", json={"user_id": 7})
    assert answer.json()["error"]["code"] == "arm_down"
    assert "r1" in answer.json()["error"]["message"]


def test_a_shadow_sees_copies_and_changes_no_answer(rig):
    rig.live(SmallArm("r1"))
    shadow = rig.release(SmallArm("r2", hold=True))
    rig.ledger.transition("r2", "shadow", "flow", "copies first")
    rig.until(
        lambda: rig.client.post("/for_you", json={"user_id": 7}).headers["x-mixer-release"] == "r1" and shadow.arrived.is_set()
    )
    assert shadow.asked[0]["shadow"] == "r2"  # marked, so that it can keep it out of its own records
    shadow.let_go.set()
    rig.until(lambda: "mixer_gateway_shadow_overlap_count" in rig.client.get("/metrics").text)


# ---- what an arm is told of the user --------------------------------------------------------------------------------
def test_an_arm_is_told_whose_request_it_is_and_in_which_step(rig):
    live, canary = rig.live(SmallArm("r1")), rig.canary(SmallArm("r2"))
    step = rig.ledger.entries_of("r2")[-1].seq
    for arm, user in ((live, user_in(False, "r2")), (canary, user_in(True, "r2"))):
        rig.client.post("/for_you", json={"user_id": user})
        own = [asked for asked in arm.asked if asked["path"] == "/for_you"]
        assert own[-1]["split"] == f"{arm.release};r2;{step}"


def test_during_a_canary_the_other_release_scores_the_same_posts(rig):
    live, canary = rig.live(SmallArm("r1")), rig.canary(SmallArm("r2"))
    user = user_in(False, "r2")
    page = rig.client.post("/for_you", json={"user_id": user, "product": "front page"}).json()
    rig.until(lambda: any(asked["path"] == "/score" for asked in canary.asked))
    copy = next(asked for asked in canary.asked if asked["path"] == "/score")
    assert (copy["shadow"], copy["request_id"], copy["user_id"], copy["product"]) == (
        "r2",
        page["request_id"],
        user,
        "front page",
    )
    assert copy["post_ids"] == [post["post_id"] for post in page["posts"]]
    assert [asked["path"] for asked in live.asked] == ["/for_you"]


def test_users_of_an_experiment_get_its_settings_until_it_is_stopped(rig):
    arm, experiments = rig.live(SmallArm("r1")), Experiments(rig.settings.platform_database_url)
    one = experiments.start("milder", "ranking", 1.0, {"author_decay": 0.9}, actor="Ada", why="to see")
    treated, usual = (next(user for user in range(100) if one.arm(user) == arm_name) for arm_name in ("treatment", "control"))

    def told(user: int) -> tuple[str | None, str | None]:
        rig.client.post("/for_you", json={"user_id": user}, headers={"x-mixer-knobs": '{"ranked": 20}'})
        return arm.asked[-1]["experiments"], arm.asked[-1]["knobs"]

    rig.until(lambda: told(treated) == ('{"milder": "treatment"}', '{"author_decay": 0.9}'))
    assert told(usual) == ('{"milder": "control"}', None)
    assert "milder" in rig.client.get("/experiments").text
    assert rig.client.get("/experiments?name=none").status_code == 404
    experiments.stop("milder", actor="Ada", why="seen enough")
    rig.until(lambda: told(treated) == (None, None))


def test_a_release_that_is_older_than_an_experiment_gives_its_users_the_usual_page(rig):
    arm, experiments = rig.live(SmallArm("r1", old=True)), Experiments(rig.settings.platform_database_url)
    one = experiments.start("milder", "ranking", 1.0, {"author_decay": 0.9}, actor="Ada", why="to see")
    treated = next(user for user in range(100) if one.arm(user) == "treatment")

    def pages() -> list[str | None]:
        assert rig.client.post("/for_you", json={"user_id": treated}).status_code == 200
        return [asked["knobs"] for asked in arm.asked[-2:]]

    rig.until(lambda: pages() == ['{"author_decay": 0.9}', None])


# ---- who may move releases ----------------------------------------------------------------------------------------
def test_without_the_token_nothing_moves(rig):
    rig.live(SmallArm("r1"))
    rig.ask_for_approval(SmallArm("r2"))
    before = rig.ledger.entries()
    for action in ("approve", "reject", "rollback"):
        for token, status in ((None, 401), ("wrong", 403)):
            answer = rig.admin(f"/admin/releases/r2/{action}", {"actor": "Eve", "reason": "why not"}, token)
            assert (action, answer.status_code) == (action, status)
    assert rig.ledger.entries() == before
    assert len(rig.approvals.pending()) == 1


def test_people_act_under_their_own_names_as_far_as_their_role_reaches(rig):
    people = People(rig.settings.platform_database_url)
    tokens = {
        name: people.add(name, role) for name, role in (("Vi", Role.VIEWER), ("Op", Role.OPERATOR), ("Ada", Role.APPROVER))
    }
    rig.live(SmallArm("r1"))
    rig.ask_for_approval(SmallArm("r2"))
    claimed = {"actor": "somebody else", "reason": "fine"}
    path = "/admin/releases/r2/approve"
    for name in ("Vi", "Op"):
        refused = rig.admin(path, claimed, tokens[name])
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
    assert rig.admin(path, claimed, tokens["Ada"]).json()["approval"]["actor"] == "Ada"
    state = {name: rig.client.get("/admin/state", headers={"authorization": f"Bearer {tokens[name]}"}) for name in tokens}
    assert {answer.status_code for answer in state.values()} == {200}
    people.revoke("Op")
    assert rig.admin("/admin/releases/r2/rollback", claimed, tokens["Op"]).status_code == 403
    assert [(one["who"], one["what"]) for one in people.refusals()] == [
        ("Op", "rollback r2"),
        ("Op", "approve r2"),
        ("Vi", "approve r2"),
    ]


def test_another_scheme_is_no_token(rig):
    token = rig.settings.paths.admin_token()
    answer = rig.client.get("/admin/state", headers={"authorization": f"Basic {token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_missing")
    assert "Bearer" in answer.headers["www-authenticate"]


def test_an_answer_needs_a_name_and_a_reason(rig):
    rig.live(SmallArm("r1"))
    rig.ask_for_approval(SmallArm("r2"))
    unnamed = [{}, {"actor": "Ada"}, {"reason": "fine"}, {"actor": " ", "reason": "fine"}, {"actor": 1, "reason": "x"}]
    assert [rig.admin("/admin/releases/r2/approve", body).status_code for body in unnamed] == [422] * len(unnamed)
    assert rig.approvals.decision("r2") is None


def test_a_yes_is_kept_for_the_flow_that_waits_for_it(rig):
    rig.live(SmallArm("r1"))
    rig.ask_for_approval(SmallArm("r2"))
    answer = rig.admin("/admin/releases/r2/approve", {"actor": "Ada", "reason": "intervals are clear"})
    assert (answer.status_code, answer.json()["approval"]["status"]) == (200, "approved")
    assert rig.approvals.decision("r2").actor == "Ada"
    assert rig.ledger.state("r2") is ReleaseState.AWAITING_APPROVAL
    assert rig.admin("/admin/releases/r2/approve", {"actor": "Ada", "reason": "again"}).status_code == 409


def test_a_no_takes_the_release_off_at_once(rig):
    rig.live(SmallArm("r1"))
    rig.ask_for_approval(SmallArm("r2"))
    assert rig.admin("/admin/releases/r2/reject", {"actor": "Ada", "reason": "not yet"}).status_code == 200
    health = rig.client.get("/healthz").json()
    assert {name: health[name] for name in ("ok", "live", "canary", "why")} == {
        "ok": True,
        "live": "r1",
        "canary": None,
        "why": None,
    }
    assert rig.approvals.decision("r2").status == "rejected"
    last = rig.ledger.entries()[-1]
    assert (last.state, last.actor, last.reason) == (ReleaseState.ROLLED_BACK, "Ada", "not yet")


def test_unknown_releases_and_actions_are_named(rig):
    rig.live(SmallArm("r1"))
    body = {"actor": "Ada", "reason": "fine"}
    assert rig.admin("/admin/releases/r9/rollback", body).json()["error"]["code"] == "unknown_release"
    assert rig.admin("/admin/releases/r1/explode", body).json()["error"]["code"] == "unknown_action"
    assert rig.admin("/admin/releases/r1/reject", body).status_code == 409


def test_the_state_is_for_the_token_only_and_shows_what_is_under_way(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    assert rig.client.get("/admin/state").status_code == 401
    headers = {"authorization": f"Bearer {rig.settings.paths.admin_token()}"}
    state = rig.client.get("/admin/state", headers=headers).json()
    assert state["route"] == {"live": "r1", "canary": "r2", "canary_percent": CANARY_PERCENT, "salt": "r2", "shadow": None}
    assert state["arms"]["r1"]["in_flight"] == 0
    assert state["ledger_problems"] == []
