"""What the products promise by their declarations alone."""

from __future__ import annotations

import pytest

from services.mixer.pipeline import Pipeline
from services.mixer.products.following import following
from services.mixer.products.for_you import for_you
from services.mixer.products.given_posts import given_posts
from services.mixer.products.parts import Parts
from services.mixer.ranking_contexts import RankingContexts
from services.mixer.social_graph import RecentRelations

PARTS = Parts(
    bundle=None, user_features=None, graph=lambda: None, recent_relations=RecentRelations(), contexts=RankingContexts(0, 0)
)
PRODUCTS = [for_you(PARTS), following(PARTS), given_posts(PARTS)]


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_every_component_is_named_for_its_rule_and_has_a_deadline(product: Pipeline):
    for component in product.components():
        assert component.name.isidentifier()
        assert 0 < component.deadline_ms <= 1_000
        assert product.kinds[component.name]


@pytest.mark.parametrize("product", PRODUCTS[:2], ids=lambda product: product.name)
def test_what_is_shown_has_passed_the_safety_rules_which_fail_closed(product: Pipeline):
    rules = {step.name: step for step in product.steps}
    for name in ("muted_authors", "blocked_authors", "known_posts"):
        assert rules[name].on_failure == "closed"
        assert rules[name].inline, "a deadline that passes on a busy machine would empty the page"


@pytest.mark.parametrize(
    ("product", "waited_for"),
    [
        (PRODUCTS[0], {"user_features", "two_tower", "similar_content", "heavy"}),
        (PRODUCTS[1], set()),
        (PRODUCTS[2], {"user_features", "heavy"}),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_stores_and_models_are_waited_for_and_nothing_else(product: Pipeline, waited_for: set[str]):
    """In place, one of them would hold up every other request of the process."""
    assert {component.name for component in product.components() if not component.inline} == waited_for


def test_for_you_runs_cheap_rules_before_the_light_ranker_and_that_before_the_heavy_one():
    order = [step.name for group in PRODUCTS[0].step_groups for step in group]
    assert order.index("blocked_authors") < order.index("ranking_rows") < order.index("light") < order.index("light_cut")
    assert order.index("light_cut") < order.index("heavy") < order.index("weighted") < order.index("author_diversity")


def test_following_needs_no_model_and_no_feature_store():
    names = {component.name for component in PRODUCTS[1].components()}
    assert not names & {"user_features", "two_tower", "light", "heavy", "ranking_rows"}
