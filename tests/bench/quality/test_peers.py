"""Every peer fits tiny rows and predicts shares of the measured actions, the same ones again for the same seed."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest

from flows.training.evaluate import auc
from infra.settings import Settings
from tests.bench.quality import boosted, sasrec
from tests.bench.quality.measured_heads import MEASURED, measured_labels
from tests.bench.quality.peer_environment import IndexOutOfReach, peer_environment
from tests.bench.quality.quality_rows_of import small_rows
from tests.bench.quality.roster import roster
from tests.short_training import shorten_training

PEERS = {peer.key: peer for peer in roster(Settings())}
SEED = 3
LEARNERS = ("logistic", "lightgbm", "masknet", "din", "ours")  # those that read the features the synthetic labels follow


@pytest.fixture(scope="module")
def rows():
    return small_rows()


@pytest.fixture(scope="module", autouse=True)
def short():
    """Two trials instead of as many as a contest takes, and the steps that these rows need to show a signal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosted, "search", partial(boosted.search, trials=2))
        shorten_training(patch, heavy_steps=120)
        yield


@pytest.fixture(scope="module")
def few():
    """What shows whether two fits are the same; too few to learn much from."""
    return small_rows(700, 200)


def predictions(peer, rows, folder, seed=SEED):
    models = peer.fit(rows.train, seed, 1, folder / peer.key / str(seed))
    assert tuple(models) == peer.names
    return {name: predict(rows.live) for name, predict in models.items()}


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in PEERS if key != "sasrec"])
def test_a_peer_predicts_every_row(key, rows, tmp_path):
    for p in predictions(PEERS[key], rows, tmp_path).values():
        assert p.shape == (len(rows.live), len(MEASURED)) and p.dtype == np.float32
        assert ((p >= 0) & (p <= 1)).all()
        rate = measured_labels(rows.train).mean(axis=0)
        assert np.abs(p.mean(axis=0) - rate).max() < 0.12
        if key in LEARNERS:
            assert auc(p[:, 0].astype(float), measured_labels(rows.live)[:, 0].astype(float)) > 0.6


@pytest.mark.slow
def test_sasrec_scores_by_the_sequence_of_likes_and_gives_the_same_again(rows, tmp_path):
    try:
        found = PEERS["sasrec"].fit(rows.train, SEED, 1, tmp_path, epochs=1)[sasrec.NAME](rows.live)
    except IndexOutOfReach as reason:
        pytest.skip(str(reason))
    assert found.shape == (len(rows.live), len(MEASURED))
    assert len(np.unique(found[:, 0])) > 50
    # The network of all days once more, with its scores from the process that fitted it.
    python = peer_environment(Settings().paths.environments / "rectools", sasrec.PACKAGES, sasrec.NAME)
    again = sasrec.Fitted(python, tmp_path / "again", 1).learn(rows.train, SEED, 1, rows.live).found()
    np.testing.assert_array_equal(again, pl.read_parquet(tmp_path / "all" / "scores.parquet")["score"].to_numpy())


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in PEERS if key != "sasrec"])
def test_a_seed_gives_the_same_again_and_another_seed_something_else(key, few, tmp_path):
    one, again = (predictions(PEERS[key], few, tmp_path / name) for name in ("one", "two"))
    for name, p in one.items():
        np.testing.assert_array_equal(p, again[name])
    if key in ("lightgbm", "din"):
        other = predictions(PEERS[key], few, tmp_path, SEED + 1)
        assert all((one[name] != other[name]).any() for name in one)


def test_a_row_is_predicted_the_same_whatever_else_is_asked(rows, tmp_path):
    predict = PEERS["logistic"].fit(rows.train, 3, 1, tmp_path)["logistic regression"]
    np.testing.assert_allclose(predict(rows.live.take(np.arange(5))), predict(rows.live)[:5], rtol=1e-5)


def test_a_search_carries_on_after_its_last_trial_and_begins_with_the_hand_set_one(rows, tmp_path):
    first = boosted.search(rows.train, tmp_path, 1, trials=1)
    assert first.parameters["like"] == boosted.HAND_SET
    (file,) = tmp_path.glob("trials-*.json")
    kept = file.read_text()
    boosted.search(rows.train, tmp_path, 1, trials=2)
    assert file.read_text() != kept
    again = boosted.search(rows.train, tmp_path, 1, trials=2)
    assert again == boosted.search(rows.train, tmp_path / "anew", 1, trials=2)
    assert set(again.rounds) == set(MEASURED)


def test_trials_are_drawn_the_same_every_time_and_differ():
    assert boosted.drawn(5) == boosted.drawn(5) != boosted.drawn(6)
    assert boosted.TRIALS >= 30
