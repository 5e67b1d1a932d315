"""The MaskNet preset: its masks, its isolation, and that it trains, is stored and is served as the transformer is."""

import numpy as np
import pytest
import torch

from feature_repo.feature_rows import BLOCKS
from flows.training.evaluate import auc
from flows.training.fit import train_bundle
from services.ranking.bundle import ModelBundle
from services.ranking.heavy import HeavyConfig
from services.ranking.inputs import OUTPUTS, TableBits, row_tensors
from services.ranking.masknet import MaskBlock, MaskNet, MaskNetConfig
from services.ranking.normalise import Normaliser
from services.ranking.presets import PRESETS, UnknownPreset, as_json, build, from_json, ranker_config
from tests.synthetic_rows import WIDTHS, synthetic_rows


def _tensors(rows):
    return row_tensors(rows, Normaliser.fit(synthetic_rows(500).blocks), TableBits())


@torch.no_grad()
def test_a_block_begins_as_a_plain_layer_and_its_mask_is_of_the_row_itself():
    torch.manual_seed(1)
    block, x = MaskBlock(6, 5, 4), torch.randn(3, 6)
    torch.testing.assert_close(block(x), torch.relu(block.norm(block.layer(x))))
    block.mask[2].weight.normal_()
    by_hand = torch.relu(x @ block.mask[0].weight.T + block.mask[0].bias) @ block.mask[2].weight.T + block.mask[2].bias
    torch.testing.assert_close(block(x), torch.relu(block.norm(block.layer(x * by_hand))))


@torch.no_grad()
def test_a_candidate_scores_the_same_alone_and_among_others():
    torch.manual_seed(1)
    model, rows = MaskNet(MaskNetConfig(WIDTHS)).eval(), synthetic_rows(50)
    together = model(_tensors(rows))
    assert together.shape == (50, OUTPUTS)
    torch.testing.assert_close(model(_tensors(rows.take(np.array([7])))), together[7:8], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_reaches_the_scores(block):
    torch.manual_seed(1)
    model, rows = MaskNet(MaskNetConfig(WIDTHS)).eval(), _tensors(synthetic_rows(5))
    before = model(rows)
    rows.blocks[block] = rows.blocks[block] + 1.0
    assert (model(rows) - before).abs().max() > 1e-4


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_round_trips_through_json_with_its_preset(preset):
    config = ranker_config(preset, WIDTHS)
    assert from_json(as_json(config)) == config
    assert as_json(config)["preset"] == preset
    assert build(config).config == config


def test_a_config_without_a_preset_is_the_transformers_and_an_unknown_one_is_refused():
    assert from_json(HeavyConfig(WIDTHS).as_json()) == HeavyConfig(WIDTHS)
    with pytest.raises(UnknownPreset, match="no ranker preset 'gru'; choose one of isolation_transformer, masknet"):
        ranker_config("gru", WIDTHS)


@pytest.mark.slow
def test_a_masknet_bundle_trains_is_stored_and_scores_one_request(tmp_path):
    train, later = synthetic_rows(4_000, seed=1), synthetic_rows(2_000, seed=2)
    report = train_bundle(train, later, tmp_path / "bundle", seed=7, threads=1, preset="masknet")
    bundle = ModelBundle.load(report.folder)
    assert isinstance(bundle.heavy, MaskNet)
    assert auc(bundle.heavy_predict(later)[:, 0], later.labels[:, 0]) > 0.62
    request = synthetic_rows(30, shared=True)
    alone = bundle.heavy_predict(request.take(np.array([4])))
    np.testing.assert_allclose(alone, bundle.heavy_predict(request)[4:5], atol=1e-5)
