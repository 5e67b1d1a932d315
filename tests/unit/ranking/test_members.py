"""A heavy ranker of several members: their mean, in torch and on the kernel, in a bundle and after it was stored."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from services.ranking.bundle import ModelBundle
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import OUTPUTS, row_tensors
from services.ranking.masknet import MaskNet, MaskNetConfig
from services.ranking.members import Members, as_one, built, members_of
from tests.drawn_posts import drawn_bundle, drawn_snapshot
from tests.synthetic_rows import WIDTHS, synthetic_rows
from tests.unit.ranking.test_bundle import small_bundle


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(5)
    return replace(small_bundle(), heavy=built(HeavyConfig(WIDTHS), 3))


def _alone(bundle: ModelBundle) -> list[ModelBundle]:
    return [replace(bundle, heavy=member) for member in members_of(bundle.heavy)]


def test_rows_with_a_history_each_get_the_mean_of_the_members_logits(bundle):
    rows = synthetic_rows(64)
    apart = np.mean([one.heavy_logits(rows) for one in _alone(bundle)], axis=0)
    np.testing.assert_allclose(bundle.heavy_logits(rows), apart, atol=1e-5)


def test_a_request_gets_it_from_the_kernel(bundle):
    rows = synthetic_rows(64)
    user = rows.blocks["user"][:1].repeat(64, 0)
    shared = replace(rows, history=rows.history.rows(slice(0, 1)), blocks={**rows.blocks, "user": user})
    with torch.inference_mode():
        tensors = row_tensors(shared, bundle.normaliser, bundle.heavy.config.bits)
        expected = bundle.heavy(tensors).numpy()[:, : OUTPUTS - 1]
    np.testing.assert_allclose(bundle.heavy_logits(shared), expected, atol=1e-4)
    assert bundle.predicts_alike


def test_members_that_differ_are_no_single_one(bundle):
    rows = synthetic_rows(64)
    first, second, _ = (one.heavy_logits(rows) for one in _alone(bundle))
    assert np.abs(first - second).max() > 1e-3


def test_a_stored_bundle_has_its_members_again(bundle, tmp_path):
    loaded = ModelBundle.load(bundle.save(tmp_path / "bundle"))
    assert len(members_of(loaded.heavy)) == 3
    assert loaded.version == bundle.version
    np.testing.assert_array_equal(loaded.predict(synthetic_rows(32)), bundle.predict(synthetic_rows(32)))


def test_a_bundle_of_before_there_were_members_has_one(tmp_path):
    folder = small_bundle().save(tmp_path / "bundle")
    description = json.loads((folder / "bundle.json").read_text())
    del description["members"]
    (folder / "bundle.json").write_text(json.dumps(description))
    assert isinstance(ModelBundle.load(folder).heavy, HeavyRanker)


def test_members_of_another_design_have_a_mean_too():
    rows = row_tensors(synthetic_rows(16), small_bundle().normaliser, HeavyConfig(WIDTHS).bits)
    networks = [MaskNet(MaskNetConfig(WIDTHS)).eval() for _ in range(2)]
    with torch.no_grad():
        torch.testing.assert_close(Members(networks)(rows), (networks[0](rows) + networks[1](rows)) / 2)


def test_one_member_is_itself_and_none_is_refused():
    ranker = HeavyRanker(HeavyConfig(WIDTHS))
    assert as_one([ranker]) is ranker
    with pytest.raises(ValueError, match="at least one member"):
        Members([])


def test_prepared_posts_hold_every_members_projections():
    snapshot = drawn_snapshot()
    prepared = drawn_bundle(snapshot, members=2).prepare(snapshot, 1)
    assert len(prepared.heavy) == 2
    assert [len(projected) for projected in prepared.heavy] == [len(snapshot) + 1] * 2
