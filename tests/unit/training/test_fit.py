"""Training of a whole bundle on small synthetic rows whose signal is known."""

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.chosen_heads import HeadError
from feature_repo.feature_rows import HEADS
from flows.training.evaluate import auc
from flows.training.fit import train_bundle
from flows.training.fit_heavy import head_weights
from flows.training.fit_light import engaged
from flows.training.learned_rows import TrainingRowsError, rows_fingerprint
from flows.training.negated import negate_bundle
from flows.training.retrieval import recall
from services.ranking.bundle import ModelBundle
from tests.synthetic_rows import synthetic_rows

pytestmark = pytest.mark.slow
ROWS = 4_000


class Killed(Exception):
    """What a test stops a training with."""


@pytest.fixture(scope="module")
def train():
    return synthetic_rows(ROWS, seed=1)


@pytest.fixture(scope="module")
def later():
    return synthetic_rows(2_000, seed=2)


@pytest.fixture(scope="module")
def report(train, later, tmp_path_factory):
    return train_bundle(train, later, tmp_path_factory.mktemp("trained") / "bundle", seed=7, threads=1)


@pytest.fixture(scope="module")
def bundle(report):
    return ModelBundle.load(report.folder)


def test_a_training_whose_rows_do_not_teach_what_is_to_decide_ends_before_it_learns(train, tmp_path):
    told: list[str] = []
    options = {"seed": 7, "threads": 1, "on_progress": lambda name, *_: told.append(name)}
    with pytest.raises(HeadError, match=r"names click, which followed [\d,]+ .* trained are "):
        train_bundle(train, None, tmp_path / "b", heads_least=ROWS, deciding_heads=["click"], **options)
    assert not told


def test_the_bundle_records_what_was_learned_what_decides_and_by_which_counts(bundle, train):
    counts = dict(zip(HEADS, train.labels.sum(axis=0).tolist(), strict=True))
    assert bundle.details["positives"] == counts
    assert bundle.details["heads_least"] == 30
    assert bundle.details["deciding_heads"] == sorted(counts, key=counts.__getitem__)[-1:-3:-1]
    assert set(bundle.details["deciding_heads"]) <= set(bundle.trained_heads)


def test_a_head_with_fewer_rows_than_asked_for_weighs_nothing(train):
    counts = train.labels.sum(axis=0)
    least = int(np.sort(counts)[-2])
    weights = head_weights(train.labels, least)
    assert ((weights > 0) == (np.minimum(counts, ROWS - counts) >= least)).all()
    assert (weights > 0).sum() < (head_weights(train.labels) > 0).sum()


def test_all_three_models_find_the_planted_signal(bundle, later):
    assert auc(bundle.heavy_predict(later)[:, 0], later.labels[:, 0]) > 0.65
    assert auc(bundle.light_score(later), engaged(later.labels)) > 0.55  # it learned to tell posts apart, not users


def test_two_towers_fetch_what_is_engaged_with_more_often_than_chance(bundle, train, later):
    found = recall(bundle, train, later, seed=1, depths=(30, 100, 300))["two_tower"]
    assert found["recall_at_30"] > 1.1 * 30 / 300  # by seed 1.11 to 1.34 times chance, 1.23 in the mean of sixteen
    assert found["recall_at_30"] < found["recall_at_100"] < found["recall_at_300"] == 1.0


def test_report_says_what_was_made_and_what_it_cost(report, bundle):
    assert report.version == bundle.version
    assert report.rows == ROWS
    assert set(report.seconds) >= {"prepare", "light", "two_tower", "heavy", "calibrate", "validate"}
    assert report.peak_memory_mb > 0
    assert set(report.metrics) == set(HEADS)
    assert all(len(losses) > 0 and np.isfinite(losses).all() for losses in report.losses.values())


def test_predicted_shares_meet_the_observed_ones(bundle, later):
    p = bundle.heavy_predict(later)[:, :3].mean(0)
    assert p == pytest.approx(later.labels[:, :3].mean(0), abs=0.05)


def test_no_checkpoint_is_left_behind(report):
    assert {file.suffix for file in report.folder.iterdir()} == {".safetensors", ".json"}


def test_same_rows_and_seed_give_the_same_bundle_also_after_a_kill(tmp_path):
    few = synthetic_rows(1_300, seed=1)  # two epochs of them are more steps than the 100 between checkpoints
    whole = train_bundle(few, None, tmp_path / "whole", seed=7, threads=1)

    def killed_towards_the_end(name: str, done: float, loss: float) -> None:
        if name == "heavy" and done > 0.8:
            raise Killed

    told: list[tuple[str, float, float]] = []
    with pytest.raises(Killed):
        train_bundle(few, None, tmp_path / "b", seed=7, threads=1, on_progress=killed_towards_the_end)
    resumed = train_bundle(few, None, tmp_path / "b", seed=7, threads=1, on_progress=lambda *said: told.append(said))
    assert resumed.version == whole.version
    assert {name for name, *_ in told} == {"heavy"} and told[0][1] > 0.5  # it went on, and did not begin


def test_a_teacher_is_remembered_and_the_taught_ranker_finds_the_signal_too(train, later, report, tmp_path):
    taught = train_bundle(train, later, tmp_path / "taught", seed=7, threads=1, teacher_share=0.5)
    assert taught.version != report.version
    bundle = ModelBundle.load(taught.folder)
    assert bundle.details["teacher_share"] == 0.5
    assert auc(bundle.heavy_predict(later)[:, 0], later.labels[:, 0]) > 0.65


def test_negated_copy_ranks_upside_down_and_leaves_the_original_alone(bundle, report, later, tmp_path):
    version = negate_bundle(report.folder, tmp_path / "bad")
    bad = ModelBundle.load(tmp_path / "bad")
    assert version == bad.version != bundle.version
    assert bad.details["negated_from"] == bundle.version
    good, worse = (auc(model.heavy_predict(later)[:, 0], later.labels[:, 0]) for model in (bundle, bad))
    assert worse == pytest.approx(1 - good, abs=1e-3)
    assert ModelBundle.load(report.folder).version == report.version


def test_rows_without_labels_or_too_few_are_refused_with_a_remedy(train, tmp_path):
    with pytest.raises(TrainingRowsError, match="build them with point_in_time_rows"):
        train_bundle(replace(train, labels=None), None, tmp_path, seed=1, threads=1)
    with pytest.raises(TrainingRowsError, match="at least 100"):
        train_bundle(train.take(np.arange(50)), None, tmp_path, seed=1, threads=1)
    with pytest.raises(TrainingRowsError, match="one history per row"):
        train_bundle(synthetic_rows(200, shared=True), None, tmp_path, seed=1, threads=1)


def test_fingerprint_follows_labels_and_features(train):
    labels = train.labels.copy()
    labels[5, 0] ^= 1
    blocks = {**train.blocks, "post": train.blocks["post"] + 0.1}
    prints = {rows_fingerprint(rows) for rows in (train, replace(train, labels=labels), replace(train, blocks=blocks))}
    assert len(prints) == 3
    assert rows_fingerprint(synthetic_rows(ROWS, seed=1)) == rows_fingerprint(train)
