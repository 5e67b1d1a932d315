import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from feature_repo.feature_rows import FeatureRows, UserFeatures
from feature_repo.heads import HEADS
from services.ranking.bundle import BundleError, ModelBundle
from services.ranking.calibration import KNOTS, Calibration
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.light import LightRanker
from services.ranking.normalise import Normaliser
from services.ranking.two_tower import TwoTower, TwoTowerConfig
from tests.synthetic_rows import WIDTHS, synthetic_rows


def small_bundle(seed: int = 1) -> ModelBundle:
    """An untrained bundle with all its paths alive."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    rows = synthetic_rows(500)
    light = LightRanker(
        {name: random.normal(0, 0.1, width).astype(np.float32) for name, width in WIDTHS.items()},
        random.normal(0, 0.1, 65).astype(np.float32),
        -0.3,
    )
    return ModelBundle(
        heavy=HeavyRanker(HeavyConfig(WIDTHS)),
        light=light,
        two_tower=TwoTower(TwoTowerConfig(WIDTHS)),
        normaliser=Normaliser.fit(rows.blocks),
        calibration=Calibration(
            np.linspace(0.8, 1.2, len(HEADS), dtype=np.float32), np.linspace(-1, 1, len(HEADS), dtype=np.float32), _knots()
        ),
        names=dict(rows.names),
        details={"seed": seed},
    )


def _spread(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, len(HEADS), dtype=np.float32)


def _knots() -> np.ndarray:
    """Two heads' isotonic maps, the others' none."""
    knots = np.full((len(HEADS), 2, KNOTS), np.nan, np.float32)
    knots[2, :, :3] = [[-2.0, 0.0, 1.0], [-3.0, -0.5, 2.0]]
    knots[5, :, :2] = [[-1.0, 1.0], [-0.5, 0.5]]
    return knots


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return small_bundle()


@dataclass(frozen=True)
class Posts:
    """The columns of a snapshot that retrieval reads."""

    post_id: np.ndarray
    author_id: np.ndarray
    topic: np.ndarray
    blocks: dict[str, np.ndarray]


def _posts(rows: FeatureRows) -> Posts:
    return Posts(rows.post_id, rows.author_id, rows.topic, {name: rows.blocks[name] for name in ("post", "author", "topic")})


def _user(rows: FeatureRows) -> UserFeatures:
    return UserFeatures(int(rows.user_id[0]), rows.blocks["user"][:1], rows.history.rows(slice(0, 1)), known=True)


def test_a_saved_bundle_answers_as_before_and_keeps_its_version(bundle, tmp_path):
    again = ModelBundle.load(bundle.save(tmp_path / "b"))
    rows = synthetic_rows(50, seed=4, shared=True)
    assert again.version == bundle.version
    assert (again.names, again.details) == (bundle.names, bundle.details)
    np.testing.assert_array_equal(again.heavy_predict(rows), bundle.heavy_predict(rows))
    np.testing.assert_array_equal(again.light_score(rows), bundle.light_score(rows))
    np.testing.assert_array_equal(again.post_vectors(_posts(rows)), bundle.post_vectors(_posts(rows)))
    np.testing.assert_array_equal(again.user_vector(_user(rows)), bundle.user_vector(_user(rows)))


def test_nothing_in_the_folder_can_run_code(bundle, tmp_path):
    folder = bundle.save(tmp_path / "b")
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}


def test_version_follows_the_weights_alone(bundle):
    assert replace(bundle, details={"seed": 99}).version == bundle.version
    assert small_bundle(seed=2).version != bundle.version
    assert replace(bundle, calibration=Calibration.identity(len(HEADS))).version != bundle.version


def test_score_of_a_candidate_does_not_depend_on_the_1499_others(bundle):
    rows = synthetic_rows(1_500, seed=5, shared=True)
    together = bundle.heavy_predict(rows)
    for index in (0, 1, 77, 740, 1_499):
        alone = bundle.heavy_predict(rows.take(np.array([index])))
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)
        assert bundle.light_score(rows.take(np.array([index])))[0] == pytest.approx(bundle.light_score(rows)[index], abs=1e-5)


def test_order_of_the_candidates_does_not_matter(bundle):
    rows = synthetic_rows(300, seed=6, shared=True)
    shuffle = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(bundle.heavy_predict(rows.take(shuffle)), bundle.heavy_predict(rows)[shuffle], atol=1e-5)


def test_many_rows_with_histories_of_their_own_are_scored_in_passes_to_the_same_values(bundle, monkeypatch):
    rows = synthetic_rows(700, seed=7)
    whole = bundle.heavy_predict(rows)
    monkeypatch.setattr("services.ranking.bundle._ROWS_PER_PASS", 256)
    np.testing.assert_allclose(bundle.heavy_predict(rows), whole, atol=1e-6)


def test_a_user_block_broadcast_from_one_row_scores_the_same(bundle):
    rows = synthetic_rows(64, seed=8, shared=True)
    thin = replace(rows, blocks={**rows.blocks, "user": np.broadcast_to(rows.blocks["user"][:1], (64, WIDTHS["user"]))})
    np.testing.assert_allclose(bundle.heavy_predict(thin), bundle.heavy_predict(rows), atol=1e-5)


def test_outputs_are_probabilities_in_float32(bundle):
    p = bundle.heavy_predict(synthetic_rows(100, shared=True))
    assert p.dtype == np.float32
    assert p.shape == (100, len(HEADS))
    assert ((p >= 0) & (p <= 1)).all()
    light = bundle.light_score(synthetic_rows(100, shared=True))
    assert light.dtype == np.float32
    assert ((light > 0) & (light < 1)).all()


def test_no_candidates_give_no_scores(bundle):
    assert bundle.heavy_predict(synthetic_rows(5, shared=True).take(np.zeros(0, np.int64))).shape == (0, len(HEADS))


def test_retrieval_vectors_fit_each_other(bundle):
    rows = synthetic_rows(40, seed=9)
    vectors, user = bundle.post_vectors(_posts(rows)), bundle.user_vector(_user(rows))
    assert vectors.shape == (40, len(user))
    assert vectors.dtype == user.dtype == np.float32
    assert np.ptp(vectors @ user) > 0


def test_the_own_id_of_a_post_that_training_never_met_says_nothing(bundle):
    posts = _posts(synthetic_rows(40, seed=9))
    with torch.no_grad():
        bundle.two_tower.post.weight.normal_()  # as if training had met every row of the table
    other = replace(posts, post_id=posts.post_id + 1)
    hidden, shown = (bundle.post_vectors(posts, trained_on=known) for known in (False, True))
    np.testing.assert_array_equal(bundle.post_vectors(other, trained_on=False), hidden)
    assert np.abs(bundle.post_vectors(other) - shown).max() > 0.1
    with torch.no_grad():
        bundle.two_tower.post.weight.zero_()
    np.testing.assert_array_equal(bundle.post_vectors(posts), hidden)


def test_columns_of_another_catalogue_are_refused(bundle):
    rows = synthetic_rows(10, shared=True)
    names = {**rows.names, "post": (*rows.names["post"][:-1], "likes_by_moonlight")}
    with pytest.raises(BundleError, match="'post' has other columns .*likes_by_moonlight.*retrain"):
        bundle.heavy_predict(replace(rows, names=names))


def test_a_folder_without_a_description_is_no_bundle(bundle, tmp_path):
    folder = bundle.save(tmp_path / "b")
    (folder / "bundle.json").unlink()
    with pytest.raises(BundleError, match="its writing was cut off"):
        ModelBundle.load(folder)


def test_damaged_weights_are_noticed(bundle, tmp_path):
    folder = bundle.save(tmp_path / "b")
    small_bundle(seed=2).save(tmp_path / "other")
    (folder / "light.safetensors").write_bytes((tmp_path / "other" / "light.safetensors").read_bytes())
    with pytest.raises(BundleError, match="damaged"):
        ModelBundle.load(folder)


def test_a_bundle_with_other_heads_is_refused_with_a_remedy(bundle, tmp_path):
    folder = bundle.save(tmp_path / "b")
    content = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**content, "heads": ["click"]}))
    with pytest.raises(BundleError, match="or retrain"):
        ModelBundle.load(folder)
