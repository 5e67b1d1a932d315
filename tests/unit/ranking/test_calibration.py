import numpy as np
import pytest

from services.ranking.calibration import KNOTS, METHODS, Calibration, UnknownCalibration, logit, sigmoid


def _drawn(slope: float, shift: float, n: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    logits = random.normal(0, 1.5, (n, 1))
    return logits, (random.random((n, 1)) < sigmoid(slope * logits + shift)).astype(np.uint8)


def test_a_known_distortion_is_found_again():
    fitted = Calibration.fit(*_drawn(0.6, -0.8), "platt")
    assert fitted.slope[0] == pytest.approx(0.6, abs=0.03)
    assert fitted.shift[0] == pytest.approx(-0.8, abs=0.03)


@pytest.mark.parametrize("method", ["auto", "platt", "isotonic"])
def test_calibrated_shares_meet_the_observed_ones(method):
    logits, labels = _drawn(1.4, 0.5)
    assert Calibration.fit(logits, labels, method).apply(logits).mean() == pytest.approx(labels.mean(), abs=0.002)


def test_a_handful_of_positives_moves_next_to_nothing_and_many_move_all():
    random = np.random.default_rng(4)
    few, many = (Calibration.fit(np.full((n, 1), -7.0), random.random((n, 1)) < 0.003, "platt") for n in (2_000, 2_000_000))
    assert abs(few.slope[0] - 1) < 0.3
    assert abs(few.shift[0]) < 0.1
    assert many.apply(np.full((1, 1), -7.0))[0, 0] == pytest.approx(0.003, rel=0.05)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_stays_finite_and_moves_towards_it(label):
    logits = np.random.default_rng(5).normal(0, 1, (5_000, 1))
    p = Calibration.fit(logits, np.full((5_000, 1), label, np.uint8)).apply(logits)
    assert np.isfinite(p).all()
    assert abs(p.mean() - label) < 0.1


def test_a_head_that_ranks_backwards_is_not_flipped():
    logits, labels = _drawn(-1.0, 0.0)
    fitted = Calibration.fit(logits, labels, "platt")
    assert (fitted.slope[0], fitted.shift[0]) == (1.0, 0.0)


def test_no_rows_leave_logits_as_they_are():
    fitted = Calibration.fit(np.zeros((0, 2)), np.zeros((0, 2)))
    np.testing.assert_allclose(fitted.apply(np.array([[0.0, 2.0]])), [[0.5, sigmoid(np.array(2.0))]], rtol=1e-6)


def _bent(n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that saturate on one side: no scale and shift sets them right."""
    random = np.random.default_rng(8)
    logits = random.normal(0, 1.5, (n, 1))
    return logits, (random.random((n, 1)) < sigmoid(np.where(logits > 0, 0.2, 1.5) * logits - 0.5)).astype(np.uint8)


@pytest.mark.parametrize(
    ("drawn", "chosen"),
    [(_drawn(1.0, 0.0), "none"), (_drawn(0.6, 0.0), "temperature"), (_drawn(1.0, -0.7), "platt"), (_bent(), "isotonic")],
)
def test_each_head_gets_the_simplest_map_that_predicts_other_rows_best(drawn, chosen):
    both = [np.concatenate([one, other], axis=1) for one, other in zip(drawn, _drawn(1.0, 0.0, len(drawn[0])), strict=True)]
    assert Calibration.fit(*both).methods == (chosen, "none")


def test_an_isotonic_map_lowers_the_loss_of_bent_logits_where_platt_cannot():
    (logits, labels), (later, outcome) = _bent(200_000), _bent(300_000)
    shares = {method: Calibration.fit(logits, labels, method).apply(later)[:, 0] for method in METHODS}
    high = later[:, 0] > 1.5
    gap = {method: abs(share[high].mean() - outcome[high].mean()) for method, share in shares.items()}
    assert gap["isotonic"] < 0.01 < gap["platt"] < gap["none"]


@pytest.mark.parametrize("rate", [0.5, 0.01])
def test_no_method_changes_the_order(rate):
    random = np.random.default_rng(11)
    logits = random.normal(logit(rate), 1.0, (6_000, 1))
    labels = random.random((6_000, 1)) < sigmoid(logits)
    asked = np.sort(random.normal(logit(rate), 3.0, (500, 1)), axis=0)
    for method in METHODS:
        fitted = Calibration.fit(logits, labels, method)
        assert (np.diff(logit(fitted.apply(asked)[:, 0])) >= 0).all()
        assert fitted.apply(logits).mean() == pytest.approx(labels.mean(), rel=0.1)
        assert (~np.isnan(fitted.knots[0, 0])).sum() <= KNOTS


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(UnknownCalibration, match="'beta'; choose auto or one of none, temperature, platt, isotonic"):
        Calibration.fit(np.zeros((3, 1)), np.zeros((3, 1)), "beta")


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must agree"):
        Calibration.fit(np.zeros((3, 1)), np.zeros((2, 1)))


def test_sigmoid_does_not_overflow():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
