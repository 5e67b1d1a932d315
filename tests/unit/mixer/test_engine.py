"""Deadlines, breakers, failure policies and declarations of the pipeline engine."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from services.mixer.calls import MOST_STUCK
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.pipeline import PipelineError
from services.mixer.trace import ConservationError, Trace
from tests.unit.mixer.pipeline_parts import (
    BlockingSource,
    ColumnHydrator,
    ConstantFeatures,
    ListSource,
    PostIdScorer,
    Recorder,
    RuleFilter,
    breaker_that_opens_after,
    product,
    query,
    run,
)


@pytest.fixture
def released():
    """Set at the end, so that no blocked thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def stage(result, name):
    return next(record for record in result.trace.stages if record.stage == name)


def test_an_overrunning_source_is_cut_and_named_and_the_others_are_served(released):
    slow = BlockingSource("slow", deadline_ms=20, released=released)
    result = run(product([slow, ListSource("quick", [3, 4])], [PostIdScorer()]))

    assert result.page.post_id.tolist() == [4, 3]
    assert result.trace.degraded == ["slow"]
    assert stage(result, "slow").failure == "deadline of 20 ms passed"


def test_inline_components_run_where_they_stand_and_their_failures_are_named_alike():
    threads = []

    class Inline(RuleFilter):
        inline = True

        def keep(self, asked, candidates):
            threads.append(threading.current_thread())
            return super().keep(asked, candidates)

    odd = Inline("odd", lambda posts: posts % 2 == 1)
    broken = Inline("broken", lambda posts: posts > 0, broken=True)
    result = run(product([ListSource("all", range(6))], [odd, broken, PostIdScorer()]))

    assert threads == [threading.main_thread()] * 2
    assert result.page.post_id.tolist() == [5, 3, 1]
    assert result.trace.degraded == ["broken"]


def test_a_circuit_opens_after_repeated_failures_and_spares_the_component():
    heard = []
    pipeline = product([ListSource("down", [], broken=True), ListSource("up", [1])])
    result = run(pipeline, times=5, new_breaker=breaker_that_opens_after(2), observer=lambda *call: heard.append(call[1:3]))

    assert [outcome for name, outcome in heard if name == "down"] == ["error"] * 2 + ["circuit_open"] * 3
    assert stage(result, "down").failure.startswith("circuit open")
    assert result.page.post_id.tolist() == [1]


def test_a_component_that_hangs_does_not_take_every_thread(released):
    hanging = BlockingSource("hanging", deadline_ms=10, released=released)
    pipeline = product([hanging, ListSource("quick", [1])])
    result = run(pipeline, times=8, new_breaker=breaker_that_opens_after(1000))

    assert hanging.calls == MOST_STUCK
    assert "still running" in stage(result, "hanging").failure
    assert result.page.post_id.tolist() == [1]


def test_a_failing_query_feature_closes_the_safety_filter_that_needs_it():
    class Forgetful(Component):
        name, writes = "mutes", ("muted",)

        def hydrate_query(self, asked):
            raise OSError("mutes are unreadable")

    class Muted(Component):
        name, needs, on_failure = "muted", ("muted",), "closed"

        def keep(self, asked, candidates):
            return ~np.isin(candidates.author_id, asked["muted"])

    result = run(product([ListSource("all", range(10))], [Muted()], query_hydrators=[Forgetful()]))

    assert len(result.page) == 0
    assert result.trace.counts()["muted"] == 10
    assert result.trace.degraded == ["mutes", "muted"]
    assert "muted" in stage(result, "muted").failure


def test_a_failing_closed_hydrator_shows_nothing_that_it_did_not_see():
    def unreadable(candidates):
        raise OSError("no attributes")

    closed = ColumnHydrator("labels", "label", unreadable)
    closed.on_failure = "closed"
    result = run(product([ListSource("all", range(4))], [closed]))

    assert len(result.page) == 0
    assert result.trace.counts() == {"selected": 0, "reserve": 0, "labels": 4}


def test_with_every_scorer_failing_the_sources_interleave():
    class NoScore(Component):
        name, writes = "ranker", ("score",)

        def score(self, asked, candidates):
            raise RuntimeError("model is gone")

    result = run(product([ListSource("a", [10, 11, 12]), ListSource("b", [20, 21, 22])], [NoScore()]), query(4))

    assert set(result.page.post_id[:2].tolist()) == {10, 20}
    assert set(result.page.post_id[2:].tolist()) == {11, 21}
    assert result.trace.degraded == ["ranker"]


def test_a_failing_late_safety_filter_shows_nothing_and_is_not_asked_for_every_block():
    asked = []

    def cannot_tell(posts):
        asked.append(len(posts))
        raise OSError("labels are unreadable")

    late = RuleFilter("late", cannot_tell, on_failure="closed")
    result = run(product([ListSource("all", range(500))], [PostIdScorer()], [late]), query(10))

    assert len(result.page) == 0
    assert len(asked) == 1
    assert result.trace.counts()["reserve"] > 0


@pytest.mark.parametrize(
    "answer",
    [lambda posts: posts, lambda posts: np.ones(len(posts) + 1, bool), lambda posts: True],
    ids=["ids instead of a mask", "too long", "one value"],
)
def test_a_filter_that_answers_no_mask_counts_as_failed(answer):
    result = run(product([ListSource("all", [1, 2])], [RuleFilter("odd", answer, on_failure="closed")]))

    assert len(result.page) == 0
    assert "asked for bool (2,)" in stage(result, "odd").failure


def test_a_component_that_writes_what_it_did_not_declare_counts_as_failed():
    class Overreaching(Component):
        name, writes = "overreaching", ("score",)

        def score(self, asked, candidates):
            return {"score": np.zeros(len(candidates)), "post_id": np.zeros(len(candidates))}

    result = run(product([ListSource("all", [1, 2])], [Overreaching()]))

    assert "declares ['score']" in stage(result, "overreaching").failure


def test_a_selector_that_repeats_a_row_is_replaced_by_score_order():
    class Twice(Component):
        name = "twice"

        def select(self, asked, candidates):
            return np.zeros(len(candidates), np.int64)

    result = run(product([ListSource("all", [1, 2, 3])], [PostIdScorer()], selector=Twice()))

    assert result.page.post_id.tolist() == [3, 2, 1]
    assert result.trace.degraded == ["twice"]


def test_what_a_selector_leaves_out_is_removed_under_its_name():
    class FirstOnly(Component):
        name = "first_only"

        def select(self, asked, candidates):
            return np.array([0])

    result = run(product([ListSource("all", [1, 2, 3])], selector=FirstOnly()))

    assert result.trace.counts() == {"selected": 1, "reserve": 0, "first_only": 2}


def test_hydrators_run_after_what_they_read_whatever_their_order_in_the_list():
    double = ColumnHydrator("double", "double", lambda c: c["base"] * 2, reads=("base",))
    base = ColumnHydrator("base", "base", lambda c: c.post_id)
    result = run(product([ListSource("all", [1, 2])], [double, base]))

    assert result.trace.degraded == []
    assert sorted(result.page["double"].tolist()) == [2, 4]


def test_side_effects_run_after_the_answer_and_their_failure_changes_nothing():
    seen, broken = Recorder(), Recorder(broken=True)
    broken.name = "broken"
    result = run(product([ListSource("all", [1, 2])], [PostIdScorer()], side_effects=[broken, seen]))

    assert seen.pages == [[2, 1]]
    assert result.page.post_id.tolist() == [2, 1]
    assert result.trace.degraded == []


def test_explaining_has_no_side_effects_and_remembers_columns():
    seen = Recorder()
    result = run(product([ListSource("all", [1, 2, 4])], [PostIdScorer()], side_effects=[seen]), query(1), explain=True)

    assert seen.pages == []
    name, last = result.trace.last_columns(0)
    assert (name, last["score"].tolist()) == ("top_scores", [1.0])
    assert [result.trace.fate_of(ordinal) for ordinal in range(3)] == ["reserve", "reserve", "selected"]


def test_the_observer_hears_of_every_call_and_its_outcome():
    heard = []
    broken = ListSource("down", [], broken=True)
    run(product([broken, ListSource("up", [1])]), observer=lambda *call: heard.append(call[:3]))

    assert ("test", "down", "error") in heard
    assert ("test", "up", "ok") in heard


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"sources": [ListSource("a", []), ListSource("a", [])]}, "2 components are named 'a'"),
        ({"sources": [], "steps": [ColumnHydrator("b", "b", len, reads=("nowhere",))]}, "b reads .'nowhere'."),
        (
            {
                "sources": [],
                "query_hydrators": [ConstantFeatures("x", {"x": 1}, ("y",)), ConstantFeatures("y", {"y": 1}, ("x",))],
            },
            "wait for each other",
        ),
    ],
    ids=["two of a name", "a column nobody writes", "a circle"],
)
def test_a_product_that_does_not_fit_together_is_refused_at_once(parts, complaint):
    with pytest.raises(PipelineError, match=complaint):
        product(**parts)


def test_the_trace_refuses_a_candidate_that_ends_twice_or_not_at_all():
    one = Candidates.proposed(np.array([1]), np.array([1])).with_columns({"ordinal": np.array([0])})
    trace = Trace()
    trace.begin(one)
    with pytest.raises(ConservationError, match="1 of 1"):
        trace.check()
    trace.select(one)
    with pytest.raises(ConservationError, match="twice"):
        trace.reserve(one)
