"""Laws of the pipeline engine, over arbitrary sources, rules and failures."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.mixer.filters.duplicates import DuplicatesFilter
from tests.unit.mixer.pipeline_parts import ListSource, PostIdScorer, RuleFilter, product, query, run

POSTS = st.lists(st.integers(0, 60), max_size=40)
SOURCES = st.lists(st.tuples(POSTS, st.booleans()), min_size=1, max_size=4)
RULES = st.lists(
    st.tuples(st.integers(2, 5), st.booleans(), st.sampled_from(["open", "closed"])), max_size=3
)  # (keeps posts not divisible by, is broken, policy)
FEW = settings(max_examples=40, deadline=None)


def sources_of(drawn) -> list[ListSource]:
    return [ListSource(f"source_{i}", posts, broken) for i, (posts, broken) in enumerate(drawn)]


def rules_of(drawn, prefix: str) -> list[RuleFilter]:
    return [
        RuleFilter(f"{prefix}_{i}", lambda posts, m=modulus: posts % m != 0, policy, broken)
        for i, (modulus, broken, policy) in enumerate(drawn)
    ]


def whole_product(drawn_sources, early, late):
    steps = (DuplicatesFilter(), *rules_of(early, "early"), PostIdScorer())
    return product(sources_of(drawn_sources), steps, rules_of(late, "late"))


@FEW
@given(SOURCES, RULES, RULES, st.integers(1, 50))
def test_every_candidate_ends_selected_removed_by_a_named_rule_or_in_reserve(drawn, early, late, count):
    pipeline = whole_product(drawn, early, late)
    result = run(pipeline, query(count))

    proposed = sum(len(posts) for posts, broken in drawn if not broken)
    ends = result.trace.counts()
    assert sum(ends.values()) == proposed == len(result.trace.fates)
    assert ends["selected"] == len(result.page) <= count
    assert set(ends) <= {"selected", "reserve", *(component.name for component in pipeline.components())}


@FEW
@given(SOURCES, RULES, RULES, st.integers(1, 50))
def test_the_funnel_adds_up_to_what_the_rules_removed(drawn, early, late, count):
    result = run(whole_product(drawn, early, late), query(count))

    removed = {record.stage: record.before - record.after for record in result.trace.funnel() if record.kind == "filter"}
    ends = result.trace.counts()
    assert {rule: number for rule, number in removed.items() if number} == {
        rule: number for rule, number in ends.items() if rule not in ("selected", "reserve") and number
    }


@FEW
@given(SOURCES, RULES, st.integers(1, 50))
def test_a_failing_source_costs_only_its_own_posts(drawn, early, count):
    with_failures = run(whole_product(drawn, early, []), query(count))
    without_the_failing = run(whole_product([(posts, False) for posts, broken in drawn if not broken], early, []), query(count))

    assert with_failures.page.post_id.tolist() == without_the_failing.page.post_id.tolist()
    failing = {f"source_{i}" for i, (_, broken) in enumerate(drawn) if broken}
    assert failing <= set(with_failures.trace.degraded)


@FEW
@given(SOURCES, RULES, RULES, st.integers(1, 50))
def test_no_post_is_shown_that_a_rule_forbids_or_a_failing_closed_rule_did_not_see(drawn, early, late, count):
    page = run(whole_product(drawn, early, late), query(count)).page.post_id

    for modulus, broken, policy in [*early, *late]:
        if not broken:
            assert np.all(page % modulus != 0)
        elif policy == "closed":
            assert len(page) == 0


@FEW
@given(POSTS, st.sets(st.integers(0, 60)), st.integers(1, 30))
def test_the_page_is_refilled_from_the_reserve_in_rank_order(posts, forbidden, count):
    late = RuleFilter("forbidden", lambda ids: ~np.isin(ids, list(forbidden)))
    result = run(product([ListSource("all", posts)], (DuplicatesFilter(), PostIdScorer()), [late]), query(count))

    allowed = sorted(set(posts) - forbidden, reverse=True)
    assert result.page.post_id.tolist() == allowed[:count]
    assert result.trace.counts()["reserve"] <= max(0, len(set(posts)) - len(result.page))


@FEW
@given(SOURCES, st.integers(1, 50))
def test_equal_requests_have_equal_pages(drawn, count):
    pipeline = whole_product(drawn, [], [])
    assert run(pipeline, query(count)).page.post_id.tolist() == run(pipeline, query(count)).page.post_id.tolist()
