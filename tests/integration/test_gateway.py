"""The gateway in front of real processes: who answers, what a switch does, what a sick canary does."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from infra import processes
from infra.supervisor import Supervisor
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


# ---- the release that stands by -------------------------------------------------------------------------------------
def _live_with_standby(rig) -> tuple[SmallArm, SmallArm]:
    """r2 is live, and r1, which was live before it, stands by."""
    standby, live = rig.live(SmallArm("r1")), SmallArm("r2")
    rig.ask_for_approval(live)
    rig.approvals.approve("r2", "Ada", "fine")
    rig.ledger.transition("r2", "live", "flow", "approved")
    rig.until(lambda: rig.client.get("/healthz").json()["standby"] == "r1")
    return standby, live


def test_the_standby_answers_the_very_request_that_finds_the_live_arm_dead_and_all_after_it(rig):
    _live_with_standby(rig)
    address = rig.ledger.arms()["r2"]
    rig.ledger.register_arm("r2", "http://127.0.0.1:1")
    rig.until(lambda: "x-mixer-fallback" in rig.client.post("/for_you", json={"user_id": 7}).headers)
    for path in ("/for_you", "/score", "/events"):
        answer = rig.client.post(path, json={"user_id": 7})
        assert (answer.status_code, answer.headers["x-mixer-release"], answer.headers["x-mixer-arm"]) == (200, "r1", "standby")
        assert answer.headers["x-mixer-fallback"].startswith("r2: ")
    rig.until(lambda: "mixer_gateway_failover 1.0" in rig.client.get("/metrics").text)
    health = rig.client.get("/healthz")
    assert (health.status_code, health.json()["failover"], health.json()["live"]) == (200, True, "r2")
    page = rig.client.get("/").text
    assert "r2 does not answer; r1 stands in for it" in page
    rig.ledger.register_arm("r2", address)
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": 7}).headers["x-mixer-release"] == "r2")
    rig.until(lambda: "mixer_gateway_failover 0.0" in rig.client.get("/metrics").text)


def test_no_request_fails_while_the_live_arm_dies(rig):
    _, live = _live_with_standby(rig)
    live.ready = False
    answers = []
    rig.until(
        lambda: (
            answers.append(rig.client.post("/for_you", json={"user_id": 7})) or "r1" in answers[-1].headers["x-mixer-release"]
        )
    )
    assert {answer.status_code for answer in answers} == {200}


def test_an_address_that_answers_as_another_release_gets_no_traffic(rig):
    _, live = _live_with_standby(rig)
    live.says = "r9"
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": 7}).headers["x-mixer-release"] == "r1")
    assert rig.client.get("/healthz").json()["why"].endswith("its address answers as r9")


def test_an_impostor_with_no_standby_is_an_error_that_says_so(rig):
    live = rig.live(SmallArm("r1"))
    live.says = "r9"
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": 7}).status_code == 502)
    assert "answers as r9" in rig.client.post("/for_you", json={"user_id": 7}).json()["error"]["message"]


def test_a_rollback_asks_the_release_that_takes_over_who_it_is(rig):
    standby, _ = _live_with_standby(rig)
    standby.says = "r2"  # as when r2 was started at the address that r1 had before a restart
    body = {"actor": "Ada", "reason": "worse"}
    refused = rig.admin("/admin/releases/r2/rollback", body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_possible_now")
    assert "its address answers as r2" in refused.json()["error"]["message"]
    assert rig.ledger.route().live == "r2"
    standby.says = None
    assert rig.admin("/admin/releases/r2/rollback", body).status_code == 200
    assert rig.client.post("/for_you", json={"user_id": 7}).headers["x-mixer-release"] == "r1"


def test_what_nobody_answered_is_counted_and_timed(rig):
    rig.client.post("/for_you", json={"user_id": 7})  # nothing is live
    metrics = rig.client.get("/metrics").text
    assert 'mixer_gateway_request_seconds_count{arm="none",path="/for_you",release="none"} 1.0' in metrics
    state = rig.client.get("/admin/state", headers={"authorization": f"Bearer {rig.settings.paths.admin_token()}"}).json()
    assert state["traffic"]["unanswered"]["errors"] == 1


def test_an_arm_that_is_gone_leaves_no_health_behind(rig):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", ready=False))
    rig.until(lambda: 'mixer_gateway_arm_healthy{release="r2"} 0.0' in rig.client.get("/metrics").text)
    rig.ledger.transition("r2", "rolled_back", "judge", "it is not ready")
    rig.ledger.remove_arm("r2")
    rig.until(lambda: 'mixer_gateway_arm_healthy{release="r2"}' not in rig.client.get("/metrics").text)


def test_the_gateway_starts_a_killed_process_keeper_again(rig):
    supervisor, spec = Supervisor(rig.settings), processes.keeper(rig.settings)
    first = supervisor.start(spec)
    try:
        os.kill(first.pid, signal.SIGKILL)
        rig.until(lambda: supervisor.find(spec.name) not in (None, first))
        assert 'home_mixer_process_up{process="keeper"} 1.0' in rig.client.get("/metrics").text
    finally:
        supervisor.stop_all(processes.STOP_ORDER)
    assert supervisor.running() == []


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


# ---- the fast path ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["errors", "empty", "no numbers"])
def test_a_broken_canary_is_off_the_traffic_without_the_judge(rig, fault):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", **{"errors": {"status": 500}, "empty": {"empty": True}, "no numbers": {"numbers": False}}[fault]))
    users = [user_in(True, "r2"), user_in(False, "r2")]
    rig.until(
        lambda: (
            [rig.client.post("/for_you", json={"user_id": user}) for user in users]
            and rig.ledger.state("r2") is ReleaseState.ROLLED_BACK
        )
    )
    last = rig.ledger.entries_of("r2")[-1]
    assert last.actor == "fast path"
    assert "while r1 answered" in last.reason
    assert 'mixer_gateway_fast_path_rollbacks_total{release="r2"} 1.0' in rig.client.get("/metrics").text
    assert rig.client.post("/for_you", json={"user_id": users[0]}).headers["x-mixer-release"] == "r1"


def test_a_live_release_that_breaks_soon_after_it_went_live_gives_way_to_the_one_before(rig):
    _, live = _live_with_standby(rig)
    live.status = 500
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": 7}) and rig.ledger.state("r2") is ReleaseState.ROLLED_BACK)
    assert rig.ledger.route().live == "r1"
    assert rig.client.post("/for_you", json={"user_id": 7}).headers["x-mixer-release"] == "r1"


def test_errors_of_both_releases_move_nothing(rig):
    rig.live(SmallArm("r1", status=503))
    rig.canary(SmallArm("r2", status=503))
    for _ in range(15):
        for canary in (True, False):
            rig.client.post("/for_you", json={"user_id": user_in(canary, "r2")})
    assert rig.ledger.state("r2") is ReleaseState.CANARY
    assert rig.ledger.state("r1") is ReleaseState.LIVE


def test_copies_of_an_inquest_are_marked_so_that_nobody_takes_them_for_served(rig):
    live = rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", status=500))
    rig.client.post("/for_you", json={"user_id": user_in(True, "r2")})
    rig.until(lambda: any(asked["shadow"] == "r1" for asked in live.asked))
    assert [asked["shadow"] for asked in live.asked].count(None) == 1  # the one that the user got


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
