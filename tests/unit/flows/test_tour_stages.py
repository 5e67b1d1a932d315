"""A tour's stage is ticked only where it was done: errors, missing data and unmet needs have marks and words of their own."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from flows.demo import job, stages
from flows.demo.display import Display
from flows.demo.faults import NotCaught, await_challenger, is_planted
from flows.demo.job import LEFT_OUT, run_stage, stages_to_run
from flows.demo.plan import QUICK, TOUR
from flows.demo.run_folder import RunFolder
from flows.demo.stages import STAGES, Context, Stage, beyond, errors_of, unmet_need
from flows.demo.summary import notes, offline_table, print_summary, seconds_to_first_timeline
from flows.demo.traffic.asker import ReplayFailed
from flows.steps.platform import Platform
from flows.steps.too_little import TooLittleData
from infra.process_spec import ProcessFailed
from infra.settings import Settings

SAID = "422 at /score: there is no product 'news'"


@pytest.fixture
def context(tmp_path) -> Context:
    settings = Settings(home=tmp_path / "home")
    return Context(settings, Platform(settings), RunFolder(tmp_path / "run-001"), TOUR)


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


def _run(context: Context, shown: io.StringIO, *wanted: Stage) -> None:
    display = Display([(stage.name, stage.title) for stage in wanted], "tour", Console(file=shown, width=200))
    for stage in wanted:
        run_stage(stage, context, display)


def _lines(shown: io.StringIO) -> list[str]:
    """What was printed, without how long it took."""
    return re.sub(r" \(\d+ s\)", "", shown.getvalue()).splitlines()


def _stage(name: str, run, **given) -> Stage:
    return Stage(name, name, run, lambda found: "all of it", **given)


def _raise(error: Exception):
    def run(context: Context) -> None:
        raise error

    return run


def test_a_stage_that_fails_is_marked_so_and_those_that_need_it_name_it(context, shown, monkeypatch):
    failing = _stage("train", _raise(ValueError("no rows")))
    needing = _stage("release", lambda context: {}, needs=("train",))
    free = _stage("other", lambda context: {"n": 1})
    monkeypatch.setattr(stages, "STAGES", (failing, needing, free))
    _run(context, shown, failing, needing, free)
    lines = _lines(shown)
    assert "✗ train failed: no rows" in lines
    assert "– release skipped: it needs 'train', which failed" in lines
    assert "✓ other all of it" in lines
    assert [context.folder.outcome(name).again for name in ("train", "release", "other")] == [True, True, False]


def test_what_the_data_does_not_reach_for_is_skipped_in_the_stages_own_words_and_not_tried_again(context, shown):
    lacking = _stage("canary", _raise(TooLittleData("too few users for a canary: 3 on the canary days")))
    _run(context, shown, lacking)
    assert "– canary skipped: too few users for a canary: 3 on the canary days" in _lines(shown)
    assert not context.folder.outcome("canary").again


def test_a_replay_with_errors_gets_no_tick(context, shown):
    found = {"requests": 276, "errors": 3, "first_error": SAID}
    _run(context, shown, _stage("replay", lambda context: found, lacking=errors_of))
    assert f"! replay all of it; 3 of 276 requests were errors, the first: {SAID}" in _lines(shown)
    assert context.folder.outcome("replay").state == "partly"


def test_a_replay_of_errors_only_fails(context, monkeypatch):
    found = {"requests": 10, "errors": 10, "first_error": SAID}
    monkeypatch.setattr(Platform, "start_serving", lambda self: None)
    monkeypatch.setattr(stages.canaries, "ensure_arms", lambda settings: None)
    monkeypatch.setattr(stages, "run_flow", lambda target, log, **parameters: found)
    with pytest.raises(ReplayFailed, match="10 of 10 requests were errors, the first: 422 at /score"):
        stages.replay(context)


def test_a_replay_that_asked_nothing_is_too_little_data_and_what_needs_it_says_so(context, shown, monkeypatch):
    found = {"requests": 0, "events": 2_239, "errors": 0, "first_error": None}
    monkeypatch.setattr(Platform, "start_serving", lambda self: None)
    monkeypatch.setattr(stages.canaries, "ensure_arms", lambda settings: None)
    monkeypatch.setattr(stages, "run_flow", lambda target, log, **parameters: found)
    wanted = {stage.name: stage for stage in STAGES}
    _run(context, shown, replace(wanted["replay"], needs=()), wanted["drift"])
    skipped, needing = _lines(shown)[-2:]
    assert skipped.endswith("skipped: not one request could be replayed: its 2,239 events hold no dated impression")
    assert needing.endswith("skipped: it needs 'replay as live traffic', which was skipped")


def test_a_drift_check_of_too_few_rows_is_skipped_and_not_a_warning(context, monkeypatch):
    found = {"columns": [], "reasons": ["too few rows to decide: 12 in the reference"], "verdict": "warn"}
    monkeypatch.setattr(stages, "run_flow", lambda target, log, **parameters: found)
    with pytest.raises(TooLittleData, match="too few rows to decide"):
        stages.drift(context)


def test_a_real_drifts_retraining_is_awaited_before_the_fault_is_planted(context, monkeypatch):
    found = {"columns": [{}], "reasons": ["post.age shifted"], "verdict": "retrain"}
    awaited = {"challenger": "2", "refused": None}
    monkeypatch.setattr(stages, "run_flow", lambda target, log, **parameters: dict(found))
    monkeypatch.setattr(stages.faults, "await_challenger", lambda settings, began, planted: {**awaited, "planted": planted})
    assert stages.drift(context)["retraining"] == {"challenger": "2", "refused": None, "planted": False}


def test_the_two_drifts_retrainings_are_told_apart_by_their_reason():
    assert is_planted({"reason": "planted: post.click_rate.7d shifted by +6; the feed is broken"})
    assert not is_planted({"reason": "post.age shifted grossly"})
    assert not is_planted({})


def test_a_challenger_that_the_gate_refused_is_no_failure_of_the_tour(context, monkeypatch):
    run = {"id": "1", "name": "so-so", "created_by": "automation", "state": "Failed", "refused": "nothing to judge on"}
    monkeypatch.setattr("flows.demo.faults.await_run", lambda deployment, began, planted: run)
    found = await_challenger(context.settings, None, planted=True)
    assert (found["challenger"], found["refused"]) == (None, "nothing to judge on")
    with pytest.raises(TooLittleData, match="there is no challenger, since the gate refused it: nothing to judge on"):
        stages.require_challenger(found)


def test_a_canary_without_a_verdict_gets_no_tick(context, shown):
    undecided = {"verdict": {"decision": "inconclusive"}, "reason": "no verdict in time: too few users"}
    _run(context, shown, _stage("canary", lambda context: undecided, lacking=stages._undecided))
    assert "! canary all of it; no verdict: no verdict in time: too few users" in _lines(shown)
    assert stages._undecided({"verdict": {"decision": "rollback"}, "reason": "log loss is worse"}) is None


def test_another_end_of_a_retraining_is_a_failure():
    from types import SimpleNamespace

    from flows.demo.faults import _refusal

    def run(message: str):
        return SimpleNamespace(name="so-so", state=SimpleNamespace(name="Failed", message=message))

    assert (
        _refusal("retrain", run("Flow run encountered an exception: GateFailed: nothing to judge on")) == "nothing to judge on"
    )
    with pytest.raises(NotCaught, match="no space left"):
        _refusal("retrain", run("Flow run encountered an exception: OSError: no space left"))


def test_a_stage_needs_what_its_stages_say():
    by_name = {stage.name: stage for stage in STAGES}
    assert unmet_need(by_name["ingest"], {}) is None
    assert unmet_need(by_name["drift"], {}) == "it needs 'replay as live traffic', which was not run"
    assert all(need in by_name for stage in STAGES for need in stage.needs)


def test_a_run_with_failed_stages_is_carried_on_with_them_alone(tmp_path):
    folder, _ = RunFolder.open(tmp_path)
    folder.finish("ingest", {"n": 1}, 1.0)
    folder.finish("train", None, 1.0, "failed", "no rows", again=True)
    folder.write_summary({})
    again, new = RunFolder.open(tmp_path)
    assert not new
    assert not again.outcome("ingest").again
    assert again.outcome("train").again
    again.finish("train", {"n": 2}, 1.0)
    assert RunFolder.open(tmp_path)[1]


def test_a_tour_that_ends_early_is_carried_on_from_there(tmp_path, context):
    folder, _ = RunFolder.open(tmp_path)
    left_out = beyond("release")
    names = [stage.name for stage in stages_to_run(folder, left_out)]
    assert names == ["ingest", "validate", "features", "train", "release", "stream", "pages"]
    for name in names:
        folder.finish(name, {"n": 1}, 1.0)
    for name in left_out:
        folder.finish(name, None, 0.0, "left out", LEFT_OUT, again=True)
    folder.write_summary({})
    titles = "replay as live traffic, drift on real data, planted fault, retrain, challenger's canary, bad release"
    in_order = {stage.name: outcome for stage in STAGES if (outcome := folder.outcome(stage.name)) is not None}
    assert notes(context.settings, in_order) == [f"left out: {titles}; `mixer demo` goes on with them"]
    again, new = RunFolder.open(tmp_path)
    assert not new
    assert [stage.name for stage in stages_to_run(again, beyond("drift"))] == ["replay", "drift", "pages"]
    assert [stage.name for stage in stages_to_run(again, beyond(None))][-4:] == ["fault", "canary", "bad_release", "pages"]


def test_a_failure_is_not_forgotten_by_a_call_that_does_not_reach_it(context, shown, monkeypatch):
    folder = context.folder
    for stage in STAGES:
        folder.finish(stage.name, {"n": 1}, 1.0)
    folder.finish("canary", None, 1.0, "failed", "the challenger's mixer died", again=True)
    monkeypatch.setattr(Platform, "start_foundations", lambda self: None)
    monkeypatch.setattr(Platform, "await_foundations", lambda self, **given: [])
    monkeypatch.setattr(job, "words_of", lambda stage, kept: kept.reason or "all of it")
    monkeypatch.setattr(job, "run_stage", lambda stage, context, display: None)
    display = Display(
        [("platform", "platform"), *((one.name, one.title) for one in STAGES)], "t", Console(file=shown, width=200)
    )
    job._run_stages(context, display, beyond("release"))
    assert folder.outcome("canary").state == "failed"
    assert "✗ challenger's canary the challenger's mixer died" in _lines(shown)


def test_a_page_that_cannot_start_does_not_cost_the_release(context, monkeypatch, caplog):
    def taken(self: Platform, *, wait: bool = True) -> None:
        raise ProcessFailed("mlflow-ui cannot start: port 8620 is taken by another program")

    monkeypatch.setattr(Platform, "start_serving", lambda self: None)
    monkeypatch.setattr(Platform, "start_pages", taken)
    monkeypatch.setattr(Context, "run_flow", lambda self, target, **given: {"release": "r1", "state": "live", "reason": "well"})
    context.folder.finish("train", {"sampled": False}, 1.0)
    assert stages.release(replace(context, plan=QUICK))["state"] == "live"
    assert "port 8620 is taken" in caplog.text


def test_a_tour_without_a_timeline_times_none(context):
    context.settings.paths.home.mkdir()
    context.folder.finish("release", None, 0.0, "left out", LEFT_OUT, again=True)
    summary = job.build_summary(context.settings, context.platform, context.folder, 100.0, 9.0)
    assert summary["cost"]["seconds_to_first_timeline"] is None


def test_an_unknown_last_stage_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="--until 'replays' names no stage: give one of ingest, validate, .*, bad_release"):
        beyond("replays")


def test_the_summary_of_a_tour_that_went_only_so_far_names_what_is_missing(context):
    folder = context.folder
    folder.begin("quick")
    ingested = {"lake_events": 5, "holdout_events": 0, "posts": 1, "users": 1, "label": "own", "skipped": False}
    folder.finish("ingest", {**ingested, "edges_derived": True}, 2.0)
    folder.finish("train", None, 3.0, "failed", "100 exposures are needed", again=True)
    folder.finish("release", None, 0.0, "skipped", "it needs 'train', which failed", again=True)
    context.settings.paths.home.mkdir()
    summary = job.build_summary(context.settings, context.platform, folder, 100.0, 9.0)
    assert summary["stages"]["train"] == {"state": "failed", "reason": "100 exposures are needed", "seconds": 3.0}
    shown = io.StringIO()
    print_summary(summary, Console(file=shown, width=160))
    text = shown.getvalue()
    assert "failed: train: 100 exposures are needed" in text
    assert "skipped: release 1: it needs 'train', which failed" in text
    assert "derived: the follow graph is read off engagements" in text


def test_the_table_of_models_calls_own_actions_by_their_names():
    train = {"test_days": ["2025-01-01"], "test_rows": 90, "metrics": {"popularity": {"own_5": {"positives": 40, "auc": 0.6}}}}
    shown = io.StringIO()
    Console(file=shown, width=160).print(offline_table(train, {"purchase": "own_5"}))
    assert "purchase" in shown.getvalue() and "own_5" not in shown.getvalue()


def test_notes_tell_what_was_sampled(context):
    folder = context.folder
    folder.finish("ingest", {"split_notes": ["the log holds no later day for canaries"]}, 1.0)
    folder.finish("train", {"sampled": True, "learned_from": "4,000 of 9,000 exposures", "not_measured": ["no recall"]}, 1.0)
    folder.finish("replay", {"share": 0.2}, 1.0)
    assert notes(context.settings, folder.outcomes()) == [
        "splits: the log holds no later day for canaries",
        "sampled: the first model learned from 4,000 of 9,000 exposures",
        "sampled: the visits of 20% of the users were replayed; events are everybody's",
        "no recall",
    ]


def test_the_first_timeline_is_timed_from_the_start():
    seconds = {"ingest": 10.0, "release": 20.0, "replay": 50.0}
    assert seconds_to_first_timeline(seconds, elapsed_s=85.0) == 35.0
    assert seconds_to_first_timeline({"ingest": 10.0}, 20.0) is None
