"""Slates, the light ranker that learns to keep what the heavy one chooses, and the report of what survives its cut."""

from types import SimpleNamespace

import numpy as np
import pytest

from feature_repo.blocks import history_blocks
from feature_repo.heads import HEADS
from flows.training.catalogue import Catalogue
from flows.training.fit_light import fit_light
from flows.training.survival import BEST, CUTS, survival
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import synthetic_rows


@pytest.fixture(scope="module")
def rows():
    return synthetic_rows(3_000, seed=1)


def test_a_slate_is_of_one_user_and_moment_with_the_posts_newest_blocks(rows):
    catalogue = Catalogue.newest(rows)
    slate = catalogue.slate(rows, 41, np.array([3, 0]))
    assert slate.post_id.tolist() == catalogue.post_id[[3, 0]].tolist()
    assert len(slate.history) == 1 and (slate.user_id == rows.user_id[41]).all()
    newest = np.flatnonzero(rows.post_id == slate.post_id[0])[-1]
    np.testing.assert_array_equal(slate.blocks["post"][0], rows.blocks["post"][newest])
    now = np.full(2, rows.occurred_at[41])
    made = history_blocks(rows.history.rows(np.array([41])), slate.post_id, slate.author_id, slate.topic, slate.product, now)
    np.testing.assert_array_equal(slate.blocks["user_post"], made["user_post"])


def test_slates_are_the_same_for_the_same_seed_and_no_larger_than_the_catalogue(rows):
    catalogue = Catalogue.newest(rows)
    once, again = (catalogue.slates(rows, 5, 10_000, seed=3) for _ in range(2))
    assert [len(slate) for slate in once] == [len(catalogue)] * 5
    assert all((a.post_id == b.post_id).all() for a, b in zip(once, again, strict=True))


@pytest.mark.slow
def test_the_light_ranker_keeps_what_a_score_that_it_can_express_puts_first(rows):
    normaliser = Normaliser.fit(rows.blocks)

    def heavy(slate):
        return normaliser.apply("post", slate.blocks["post"])[:, 1] - normaliser.apply("author", slate.blocks["author"])[:, 0]

    light = fit_light(heavy, rows, normaliser, seed=7)
    for slate in Catalogue.newest(rows).slates(synthetic_rows(500, seed=2), 5, 200, seed=1):
        best = np.argsort(-heavy(slate))[:10]
        assert np.isin(best, np.argsort(-light.logits(slate, normaliser))[:25]).mean() >= 0.9


def test_survivors_are_counted_as_by_hand(rows):
    def predict(slate):
        p = np.zeros((len(slate), len(HEADS)))
        p[:, 0] = slate.post_id / 1e6
        return p

    same = SimpleNamespace(predict=predict, light_score=lambda slate: slate.post_id)
    other = SimpleNamespace(predict=predict, light_score=lambda slate: -slate.post_id)
    report = survival(same, rows, rows, seed=1)
    cuts = [str(cut) for cut in CUTS if cut < len(np.unique(rows.post_id))]
    assert report["best"] == BEST and report["candidates"] == len(np.unique(rows.post_id))
    assert report["survivors"]["light ranker"] == dict.fromkeys(cuts, 1.0)
    assert set(survival(other, rows, rows, seed=1)["survivors"]["light ranker"].values()) == {0.0}
    assert set(report["survivors"]["popularity"]) == set(cuts)
