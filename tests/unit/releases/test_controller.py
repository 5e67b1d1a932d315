"""The controller does the one next thing, whoever did the last one, and nothing that rests on an outdated look."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

import pytest

from monitoring.canary.policy import JudgePolicy
from services.releases import controller as module
from services.releases.controller import Controller
from services.releases.decisions import decide
from services.releases.plan import RolloutPlan
from services.releases.rollouts import Pause
from services.releases.states import TransitionError
from tests.outcome_rows import add_outcomes
from tests.unit.releases.controlled import Controlled, controlled, opened
from tests.unit.releases.made_releases import built


@pytest.fixture
def run(tmp_path, monkeypatch) -> Controlled:
    return controlled(tmp_path, monkeypatch, time.time())


def to_approval(run: Controlled) -> None:
    assert run.look() == "canary r2 at 25 %"
    run.visits()
    assert run.look() == "canary r2 at 50 %"
    run.visits()
    assert run.look() == "r2 awaits a person's approval"


def test_a_submitted_release_is_taken_through_its_steps_and_goes_live_when_a_person_says_so(run):
    to_approval(run)
    assert run.look() is None
    decide(run.url, "r2", "approve", "Ada", "intervals are clear")
    assert run.look() == "r2 is live"
    assert run.states() == ["built", "canary 25", "canary 50", "awaiting_approval", "live"]
    last = run.controller.ledger.entries_of("r2")[-1]
    assert (last.actor, last.reason) == ("Ada", "intervals are clear")
    assert run.controller.ledger.verify() == []


def test_harm_rolls_back_at_any_step_and_while_a_person_thinks(run):
    to_approval(run)
    run.visits(600, harm=0.5)
    assert run.look().startswith("r2 rolled back: ")
    assert run.controller.ledger.route().canary is None
    assert run.controller.ledger.entries_of("r2")[-1].actor == "judge"
    assert run.controller.approvals.pending() == []


@pytest.mark.parametrize("killed_before", range(5))
def test_whichever_look_a_controller_is_killed_before_the_next_one_ends_up_at_the_same(tmp_path, monkeypatch, killed_before):
    run = controlled(tmp_path, monkeypatch, time.time())
    for place in range(5):
        if place == killed_before:
            run.restart()
        if place == 3:
            decide(run.url, "r2", "approve", "Ada", "fine")
        run.look()
        run.visits()
    assert run.states() == ["built", "canary 25", "canary 50", "awaiting_approval", "live"]


def test_a_controller_killed_between_the_move_and_the_question_is_followed_by_one_that_asks(run, monkeypatch):
    run.look()
    run.visits()
    run.look()
    run.visits()
    monkeypatch.setattr(run.controller.approvals, "request", _killed)
    with pytest.raises(KeyboardInterrupt):
        run.look()
    assert run.states()[-1] == "awaiting_approval"
    assert run.controller.approvals.pending() == []
    run.restart()
    run.look()
    assert [question.release_id for question in run.controller.approvals.pending()] == ["r2"]


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_two_controllers_never_act_together(run):
    other = opened(run.url, "second")
    assert run.look() == "canary r2 at 25 %"
    run.visits()
    assert other.look(run.clock) is None
    assert other.ended() == []
    assert run.states()[-1] == "canary 25"
    assert run.look() == "canary r2 at 50 %"
    run.visits()
    assert other.look(run.clock + module.LEASE_S + 1) == "r2 awaits a person's approval"


def test_one_that_was_frozen_over_the_end_of_its_lease_moves_nothing(run):
    run.look()
    run.visits()
    ledger, stale = run.controller.ledger, run.controller.ledger.entries_of("r2")[-1]
    other = opened(run.url, "second")
    assert other.look(run.clock + module.LEASE_S + 1) == "canary r2 at 50 %"
    with pytest.raises(TransitionError, match="went on to canary meanwhile"):
        ledger.transition("r2", "canary", "controller", "50 % of users", percent=50, after=stale.seq)
    assert run.states() == ["built", "canary 25", "canary 50"]


def test_a_release_submitted_while_another_is_a_canary_waits_for_its_turn(run):
    built(run.controller.ledger, "r3")
    run.controller.rollouts.submit("r3", RolloutPlan(ramp=(50,)), "flow")
    run.look()
    assert run.look() is None
    assert run.states("r3") == ["built"]
    decide(run.url, "r2", "abort", "Ada", "another one is more urgent")
    assert run.look() == "canary r3 at 50 %"


def test_a_release_that_can_not_begin_holds_up_no_other(run):
    built(run.controller.ledger, "r3")
    run.controller.rollouts.submit("r3", RolloutPlan(ramp=(50,)), "flow")
    run.sick.add("r2")
    assert run.look() == "canary r3 at 50 %"


def test_a_release_whose_process_does_not_come_up_is_given_up(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), step_timeout_s=60)
    run.sick.add("r2")
    assert run.look(after_s=30) is None
    assert run.look(after_s=40) == "r2 rolled back: its process did not come up in time: it does not answer"


@pytest.mark.parametrize("begun", [False, True])
def test_a_release_whose_process_dies_again_and_again_is_rolled_back(run, begun):
    if begun:
        run.look()
    run.sick.add("r2")
    run.controller.dies_again = {"r2": "no such table"}.get
    assert run.look() == "r2 rolled back: its process dies again and again: no such table"


def test_a_canary_begun_by_hand_is_judged_on_all_of_its_evidence(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time())
    run.controller.ledger.transition("r2", "canary", "Ada", "by hand", percent=25)
    run.visits()
    assert run.look() == "canary r2 at 50 %"


def test_a_pause_of_one_step_gives_the_next_no_more_time(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), step_timeout_s=3600)
    run.look()
    row = run.controller.rollouts.of("r2")
    entered = run.controller.ledger.entries_of("r2")[-1]
    began = datetime.fromisoformat(entered.at).timestamp()
    spans = ((began - 9_000, began - 8_000), (began - 50, began + 100), (began + 500, began + 700))
    later = replace(row, pauses=tuple(Pause(begin, end, "Ada", "lunch", "Ada", "back") for begin, end in spans))
    assert Controller._since(entered, later, began + 10_000) == pytest.approx(began + 300)
    assert Controller._since(entered, later, began + 600) == pytest.approx(began + 200)


def test_a_release_whose_process_does_not_answer_is_not_begun(run):
    run.sick.add("r2")
    assert run.look() is None
    run.sick.clear()
    assert run.look() == "canary r2 at 25 %"


def test_a_pause_holds_steps_and_deadlines_but_not_a_rollback(run):
    run.look()
    decide(run.url, "r2", "pause", "Ada", "the weekend")
    run.visits()
    assert run.look(after_s=100 * 3600) is None
    assert run.states()[-1] == "canary 25"
    run.visits(600, harm=0.5)
    assert run.look().startswith("r2 rolled back: ")


def test_an_answer_given_during_a_pause_counts_when_it_is_over(run):
    to_approval(run)
    decide(run.url, "r2", "pause", "Ada", "hold: a bug was found")
    decide(run.url, "r2", "approve", "Bo", "fine")
    assert run.look() is None
    assert run.states()[-1] == "awaiting_approval"
    decide(run.url, "r2", "resume", "Ada", "it was none")
    assert run.look() == "r2 is live"
    (pause,) = run.controller.rollouts.of("r2").pauses
    assert (pause.by, pause.why, pause.resumed_why) == ("Ada", "hold: a bug was found", "it was none")


def test_nobody_promotes_a_paused_rollout(run):
    run.look()
    decide(run.url, "r2", "pause", "Ada", "hold")
    with pytest.raises(TransitionError, match="r2 is paused by Ada; resume it"):
        decide(run.url, "r2", "promote", "Bo", "go on")


def test_a_release_whose_process_does_not_answer_gets_no_more_traffic_whoever_says_yes(run):
    run.look()
    run.visits()
    run.sick.add("r2")
    assert run.look() is None
    with pytest.raises(TransitionError, match="r2 can't be promoted: it does not answer"):
        decide(run.url, "r2", "promote", "Ada", "go on")
    run.sick.clear()
    assert run.look() == "canary r2 at 50 %"
    run.visits()
    run.look()
    decide(run.url, "r2", "approve", "Ada", "fine")
    run.sick.add("r2")
    assert run.look() is None
    run.sick.clear()
    assert run.look() == "r2 is live"


def test_an_approved_release_whose_process_stays_away_does_not_wait_for_ever(run):
    run.look()
    run.visits()
    run.look()
    run.visits()
    run.look()
    decide(run.url, "r2", "approve", "Ada", "fine")
    run.sick.add("r2")
    assert run.look() is None
    said = run.look(after_s=RolloutPlan().approval_timeout_s + 1)
    assert said.startswith("r2 rolled back: 172,800 s after its approval it could not go live: it does not answer")


def test_a_resumed_rollout_goes_on_where_it_was(run):
    run.look()
    decide(run.url, "r2", "pause", "Ada", "lunch")
    run.visits()
    assert run.look() is None
    assert decide(run.url, "r2", "resume", "Ada", "back")["paused"] is False
    assert run.look() == "canary r2 at 50 %"


def test_a_step_without_a_verdict_is_given_up_at_its_deadline_counted_from_the_ledger(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), step_timeout_s=60)
    run.look()
    run.look(after_s=50)
    run.restart()  # a new process does not begin to count anew
    assert run.look(after_s=10).startswith("r2 rolled back: no verdict in time")
    assert run.controller.ledger.entries_of("r2")[-1].evidence["decision"] == "inconclusive"


def test_a_question_without_an_answer_is_a_no_at_its_deadline(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), approval_timeout_s=3600)
    to_approval(run)
    assert run.look(after_s=3000) is None
    assert run.look(after_s=700) == "r2 rolled back: no answer within 3,600 s"


def test_a_person_may_promote_without_the_judge_up_to_the_question_and_no_further(run):
    run.look()
    assert decide(run.url, "r2", "promote", "Ada", "we know it from the lab")["said"] == "canary r2 at 50 %"
    entry = run.controller.ledger.entries_of("r2")[-1]
    assert (entry.actor, entry.reason) == ("Ada", "50 % of users: we know it from the lab")
    assert decide(run.url, "r2", "promote", "Ada", "still")["said"] == "r2 awaits a person's approval"
    with pytest.raises(TransitionError, match="only a canary"):
        decide(run.url, "r2", "promote", "Ada", "more")


def test_the_question_says_who_went_past_the_judge(run):
    run.look()
    run.controller.promote("r2", "Ada", "in a hurry")
    run.controller.promote("r2", "Ada", "in a hurry")
    asked = run.controller.approvals.pending()[0].request_reason
    assert asked == "Ada moved it on without the judge's yes (the judge has not looked yet); may it serve everybody?"


def test_what_can_not_be_done_now_is_refused_by_name(run):
    for action in ("pause", "resume", "abort"):
        with pytest.raises(TransitionError, match="r1 is live"):
            decide(run.url, "r1", action, "Ada", "why not")
    with pytest.raises(TransitionError, match="r2 is built"):
        decide(run.url, "r2", "promote", "Ada", "why not")
    with pytest.raises(ValueError, match="no action 'explode'"):
        decide(run.url, "r2", "explode", "Ada", "why not")


def test_the_flows_are_told_of_each_end_once_and_of_a_live_release_that_is_rolled_back_again(run):
    assert run.controller.ended() == []
    to_approval(run)
    decide(run.url, "r2", "approve", "Ada", "fine")
    run.look()
    (live,) = run.controller.ended()
    assert (live.release_id, live.state) == ("r2", "live")
    run.controller.rollouts.mark_told("r2", live.seq)
    assert run.controller.ended() == []
    run.controller.ledger.transition("r2", "rolled_back", "Ada", "worse")
    assert [entry.state for entry in run.controller.ended()] == ["rolled_back"]


# ---- what the judge is told ---------------------------------------------------------------------------------------
def newest(run: Controlled) -> dict:
    look = run.controller.looks.newest("r2")
    assert look is not None
    return look


def test_the_evidence_of_all_steps_adds_up(run):
    run.look()
    run.visits(210)
    run.look()
    run.visits(150)
    run.look()
    samples = newest(run)["samples"]
    assert samples["treatment_users"] >= 210
    assert {metric["name"]: metric["treatment_users"] for metric in newest(run)["metrics"]}["log_loss.click"] > 360


def test_a_harm_at_the_first_step_is_not_forgotten_at_the_next(run):
    run.look()
    run.visits(20, harm=0.5)
    assert decide(run.url, "r2", "promote", "Ada", "we are in a hurry")["said"] == "canary r2 at 50 %"
    run.visits(100, harm=0.5)
    assert run.look().startswith("r2 rolled back: ")


def test_the_plan_may_name_the_heads_that_decide(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), deciding_heads=("like",))
    run.look()
    run.visits()
    run.look()
    decides = [metric["name"] for metric in newest(run)["metrics"] if metric["role"] == "decides"]
    assert decides == ["engagement", "log_loss.like"]


def test_the_judge_asks_for_the_users_that_the_plan_says(tmp_path, monkeypatch):
    few = controlled(tmp_path, monkeypatch, time.time(), min_users=10)
    few.look()
    few.visits(60)
    assert JudgePolicy.default().min_users > 60
    assert few.look() == "canary r2 at 50 %"


def test_a_step_is_waited_for_as_long_as_the_policy_says(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), warm_up_s=600)
    run.look()
    run.visits()
    assert run.look() is None
    assert newest(run)["reasons"][0].startswith("warming up")
    assert run.look(after_s=700) == "canary r2 at 50 %"


def test_nothing_steps_up_while_nobody_takes_outcomes_in(run):
    run.look()
    step = run.controller.steps("r2")[-1].seq
    taken_us = int((run.clock - 120) * 1e6)
    add_outcomes(run.url, "r2", "r1", step, {"r2": 210, "r1": 630}, taken_us=taken_us)
    assert run.look() is None
    assert newest(run)["reasons"][0].startswith("outcomes were taken in last 120 s ago")
    run.met = 2_000
    run.visits(1)
    assert run.look() == "canary r2 at 50 %"


def test_a_pause_is_no_warm_up(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), warm_up_s=900, look_every_s=60)
    run.look()
    decide(run.url, "r2", "pause", "Ada", "lunch")
    run.visits()
    for _ in range(30):
        run.look(after_s=60)
    assert newest(run)["reasons"][0].startswith("warming up: ")
    assert newest(run)["decision"] == "inconclusive"


def test_looks_are_apart_as_the_plan_says_and_kept_with_their_moments(tmp_path, monkeypatch):
    run = controlled(tmp_path, monkeypatch, time.time(), look_every_s=60)
    run.look()
    for after_s in (0, 59, 2):
        run.visits(10)
        run.look(after_s)
    moments = [look["at_us"] for look in run.controller.looks.all("r2")]
    assert len(moments) == 2
    assert moments[1] - moments[0] >= 60_000_000


def test_a_look_that_saw_nothing_new_is_not_kept(run):
    run.look()
    run.visits(20)
    for _ in range(3):
        run.look()
    assert len(run.controller.looks.all("r2")) == 1
