"""Who answers when a release can't or should not: the standby, the release beside a broken one, and who watches the keeper."""

from __future__ import annotations

import os
import signal

import pytest

from infra import processes
from infra.supervisor import Supervisor
from services.releases.split import in_canary
from services.releases.states import ReleaseState
from tests.integration.gateway_rig import CANARY_PERCENT, running_gateway, user_in
from tests.integration.small_arm import SmallArm

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(tmp_path):
    with running_gateway(tmp_path) as running:
        yield running


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


def users_in(canary: bool, release: str, count: int = 4) -> list[int]:
    """The first user ids of the canary, or of the live release."""
    return [user for user in range(1_000) if in_canary(user, release, CANARY_PERCENT) is canary][:count]


def _ask_all(rig, users) -> bool:
    """A page for each of them; whether anybody answered all."""
    return all(rig.client.post("/for_you", json={"user_id": user}).status_code < 600 for user in users)


# ---- the fast path ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["errors", "empty", "no numbers"])
def test_a_broken_canary_is_off_the_traffic_without_the_judge(rig, fault):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", **{"errors": {"status": 500}, "empty": {"empty": True}, "no numbers": {"numbers": False}}[fault]))
    users = users_in(True, "r2") + users_in(False, "r2")
    rig.until(lambda: _ask_all(rig, users) and rig.ledger.state("r2") is ReleaseState.ROLLED_BACK)
    last = rig.ledger.entries_of("r2")[-1]
    assert last.actor == "fast path"
    assert "while r1 answered" in last.reason
    # The door follows the ledger a moment later.
    rig.until(lambda: 'mixer_gateway_fast_path_rollbacks_total{release="r2"} 1.0' in rig.client.get("/metrics").text)
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": users[0]}).headers["x-mixer-release"] == "r1")


def test_a_live_release_that_breaks_soon_after_it_went_live_gives_way_to_the_one_before(rig):
    _, live = _live_with_standby(rig)
    live.status = 500
    rig.until(lambda: _ask_all(rig, range(5)) and rig.ledger.state("r2") is ReleaseState.ROLLED_BACK)
    assert rig.ledger.route().live == "r1"
    rig.until(lambda: rig.client.post("/for_you", json={"user_id": 7}).headers["x-mixer-release"] == "r1")


def test_errors_of_both_releases_move_nothing(rig):
    rig.live(SmallArm("r1", status=503))
    rig.canary(SmallArm("r2", status=503))
    for _ in range(15):
        for user in users_in(True, "r2") + users_in(False, "r2"):
            rig.client.post("/for_you", json={"user_id": user})
    assert rig.ledger.state("r2") is ReleaseState.CANARY
    assert rig.ledger.state("r1") is ReleaseState.LIVE


def test_copies_of_an_inquest_are_marked_so_that_nobody_takes_them_for_served(rig):
    live = rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2", empty=True))
    rig.client.post("/for_you", json={"user_id": user_in(True, "r2")})
    rig.until(lambda: any(asked["shadow"] == "r1" for asked in live.asked))
    assert [asked["shadow"] for asked in live.asked].count(None) == 0  # no user was answered by it


def test_an_error_that_names_no_release_is_an_error_and_no_impostor(rig):
    """As one that is made outside of all middleware, where the release's name is put on."""
    _, live = _live_with_standby(rig)
    live.status, live.says = 500, ""
    answer = rig.client.post("/score", json={"user_id": 7})
    assert (answer.status_code, answer.headers["x-mixer-release"]) == (500, "r2")
    assert rig.client.post("/events", json={"user_id": 7}).status_code == 500
    live.status, live.says = 200, None
    assert rig.client.post("/score", json={"user_id": 7}).headers["x-mixer-release"] == "r2"


def test_a_release_that_is_still_loading_is_answered_for(rig):
    _, live = _live_with_standby(rig)
    live.status, live.loading = 503, True
    answer = rig.client.post("/score", json={"user_id": 7})
    assert (answer.status_code, answer.headers["x-mixer-release"]) == (200, "r1")
