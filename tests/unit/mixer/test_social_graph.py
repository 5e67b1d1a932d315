"""Relations between accounts, as read from the edges table and as just declared."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import EDGES, EdgeKind
from feature_repo.heads import HEADS
from services.mixer.query_hydrators.social_graph import SocialGraphHydrator
from services.mixer.reasons import reasons
from services.mixer.shown_heads import ShownHeads
from services.mixer.social_graph import RecentRelations, SocialGraph
from tests.unit.mixer.posts import candidates, query, user


def graph(*edges: tuple[int, int, str, bool]) -> SocialGraph:
    rows = [
        {"user_id": u, "target_id": t, "kind": k, "weight": 1.0, "derived": d, "created_at": datetime(2024, 1, 1, tzinfo=UTC)}
        for u, t, k, d in edges
    ]
    return SocialGraph.from_edges(pl.DataFrame(rows, schema=pl.from_arrow(EDGES.empty_table()).schema))


def hydrated(social: SocialGraph, recent: RecentRelations | None = None, user_id: int = 7) -> dict:
    return dict(SocialGraphHydrator(lambda: social, recent or RecentRelations()).hydrate_query(query(user_id=user_id)))


def test_a_user_meets_who_they_follow_mute_and_block_and_who_blocks_them():
    social = graph((7, 3, "follow", False), (7, 1, "follow", True), (7, 5, "mute", False), (7, 6, "block", False),
                   (8, 7, "block", False), (8, 9, "follow", False))  # fmt: skip
    features = hydrated(social)
    assert features["following"].ids.tolist() == [1, 3]
    assert features["following"].derived.tolist() == [True, False]
    assert features["muted"].tolist() == [5]
    assert features["blocked"].tolist() == [6, 8]


def test_a_user_without_edges_has_empty_relations():
    features = hydrated(graph((1, 2, "follow", False)), user_id=99)
    assert [len(features["following"].ids), len(features["muted"]), len(features["blocked"])] == [0, 0, 0]


def test_what_was_just_declared_holds_beside_the_table_and_is_not_called_derived():
    recent = RecentRelations()
    recent.add(EdgeKind.FOLLOW, 7, 4)
    recent.add(EdgeKind.FOLLOW, 7, 1)
    recent.add(EdgeKind.BLOCK, 7, 2)
    features = hydrated(graph((7, 1, "follow", True), (7, 3, "follow", True)), recent)
    assert features["following"].ids.tolist() == [1, 3, 4]
    assert features["following"].derived.tolist() == [False, True, False]
    assert features["blocked"].tolist() == [2]


def test_an_edge_that_is_both_declared_and_derived_counts_as_declared():
    assert hydrated(graph((7, 1, "follow", True), (7, 1, "follow", False)))["following"].derived.tolist() == [False]


SHOWN = ShownHeads.of(HEADS, {})


def reason(social: SocialGraph, author: int, *, source: str, known: bool = True) -> str:
    shown = candidates([1], authors=[author])
    shown = type(shown)(shown.post_id, shown.author_id, shown.source, (source,), shown.columns)
    asked = query(features={**hydrated(social), "user": user(known=known)})
    return reasons(asked, shown, social, SHOWN)[0]


def test_reasons_name_the_follow_and_whether_it_was_inferred():
    social = graph((7, 3, "follow", False), (7, 1, "follow", True))
    assert reason(social, 3, source="in_network") == "You follow this author."
    assert reason(social, 1, source="in_network") == "You follow this author (inferred from what you did with their posts)."


def test_reasons_name_social_proof_by_declared_follows_only():
    social = graph((7, 3, "follow", False), (7, 4, "follow", False), (7, 5, "follow", True),
                   (3, 50, "follow", False), (4, 50, "follow", True), (5, 50, "follow", False))  # fmt: skip
    assert reason(social, 50, source="popular") == "Popular now. 1 of the accounts you follow follows this author."


def test_reasons_tell_a_new_user_that_they_are_new():
    assert reason(graph(), 50, source="popular", known=False).startswith("Popular with everyone: we do not know your taste")


def test_reasons_of_ranked_posts_name_what_weighed_most():
    shown = candidates([1], authors=[50])
    predictions = np.zeros((1, len(HEADS)), np.float32)
    predictions[0, 0], predictions[0, 2] = 0.62, 0.1  # click 1.0 * .62, like 2.0 * .1
    asked = query(features={**hydrated(graph()), "user": user()})
    text = reasons(asked, shown.with_columns({"predictions": predictions}), graph(), SHOWN)[0]
    assert text.endswith("Ranked by the chance that you open it (62%) or like it (10%).")


def test_reasons_and_answers_call_an_own_action_by_its_name_and_leave_out_what_was_not_trained():
    heads = ShownHeads.of(("click", "own_3"), {"listen": "own_3", "skip": "own_7"})
    predictions = np.zeros((1, len(HEADS)), np.float32)
    predictions[0, HEADS.index("own_3")], predictions[0, HEADS.index("like")] = 0.4, 0.9
    asked = query(features={**hydrated(graph()), "user": user()})
    shown = candidates([1], authors=[50]).with_columns({"predictions": predictions})
    assert reasons(asked, shown, graph(), heads)[0].endswith("Ranked by the chance that you do “listen” (40%).")
    assert heads.by_name(predictions) == [{"click": 0.0, "listen": pytest.approx(0.4)}]


@pytest.mark.parametrize("seed", range(5))
def test_followers_among_the_followed_are_counted_whichever_list_is_longer(seed):
    draws = np.random.default_rng(seed)
    pairs = pl.DataFrame({"user_id": draws.integers(0, 40, 400), "target_id": draws.integers(0, 40, 400)})
    edges = pairs.unique(("user_id", "target_id"), maintain_order=True).with_columns(
        kind=pl.lit("follow"), derived=pl.Series(draws.random(pairs.unique(("user_id", "target_id")).height) < 0.3)
    )
    graph = SocialGraph.from_edges(edges)
    declared = set(edges.filter(~pl.col("derived")).select("user_id", "target_id").rows())
    for reader in range(40):
        for author in range(42):
            expected = sum((reader, other) in declared and (other, author) in declared for other in range(40))
            assert graph.followers_among(graph.follow.of_user(reader), author) == expected
