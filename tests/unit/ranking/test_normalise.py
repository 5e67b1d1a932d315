import numpy as np
import pytest

from services.ranking.normalise import CLIP, BlockNormaliser, Normaliser, signed_log


def _block(n: int = 5_000) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.lognormal(2.0, 2.0, (n, 4)).astype(np.float32) * np.array([1, -1, 1, 0], np.float32)


def test_signed_log_golden_values():
    assert signed_log(np.array([0.0, np.e - 1, 1 - np.e])).tolist() == pytest.approx([0.0, 1.0, -1.0], abs=1e-6)


def test_training_block_comes_out_standardised_and_clipped():
    block = _block()
    out = BlockNormaliser.fit(block).apply(block)
    assert out.dtype == np.float32
    assert np.abs(out).max() <= CLIP
    assert out[:, :3].mean(0) == pytest.approx(0.0, abs=0.01)
    assert out[:, :3].std(0) == pytest.approx(1.0, abs=0.02)


def test_a_column_that_was_constant_in_training_says_nothing_later():
    out = BlockNormaliser.fit(_block()).apply(np.full((2, 4), 1e6, np.float32))
    assert (out[:, 3] == 0).all()


def test_values_that_are_not_finite_become_the_mean_and_do_not_spoil_the_fit():
    block = _block()
    holed = block.copy()
    holed[::7, 0] = np.nan
    fitted = BlockNormaliser.fit(holed)
    assert fitted.mean[0] == pytest.approx(signed_log(block)[np.isfinite(holed[:, 0]), 0].mean(), abs=1e-4)
    assert fitted.apply(holed)[0, 0] == 0.0


def test_another_width_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match="trained on 4 columns: retrain"):
        BlockNormaliser.fit(_block()).apply(np.zeros((1, 5), np.float32))


def test_a_block_shared_by_all_candidates_is_computed_once_to_the_same_values():
    normaliser = Normaliser.fit({"user": _block()})
    one = _block(1)
    shared = normaliser.apply("user", np.broadcast_to(one, (100, 4)))
    assert shared.strides[0] == 0
    np.testing.assert_array_equal(shared, normaliser.apply("user", np.repeat(one, 100, axis=0)))


def test_arrays_round_trip():
    normaliser = Normaliser.fit({"user": _block(), "post": _block(100)})
    again = Normaliser.from_arrays(normaliser.arrays())
    np.testing.assert_array_equal(again.apply("post", _block(9)), normaliser.apply("post", _block(9)))
    assert again.widths == {"user": 4, "post": 4}
