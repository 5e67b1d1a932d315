"""Per-head calibration: predicted shares meet observed ones.

Each head takes the one of four maps from logits to probabilities that predicts rows it was not fitted on best: none,
temperature (Guo et al. 2017), Platt's (1999) scale and shift, or centred isotonic regression (Oron and Flournoy 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

METHODS = ("none", "temperature", "platt", "isotonic")
CONSTANT = "constant"  # of a head that was not trained: its base rate
KNOTS = 24  # at most, of an isotonic map
FOLDS = 5  # of the choice among methods
# How far a head's slope is believed to be from 1 and its shift from 0 before any row is seen (standard deviation). Networks
# trained on log loss are nearly calibrated; a rare action's handful of positives is no evidence to the contrary.
PRIOR_DEVIATION = 0.1
# A method is preferred to a simpler one only where the rows kept out speak for it: mean gain over its standard error.
SURE = 2.0
_ITERATIONS = 50
_LEAST_PER_KNOT = 50
_MOST = 30.0  # of a logit: beyond, a probability in float32 is 0 or 1


class UnknownCalibration(ValueError):
    """There is no calibration method of that name."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow; keeps the dtype."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def logit(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), finite also at 0 and 1; float64."""
    p = np.clip(np.asarray(probability, np.float64), 1e-12, 1 - 1e-12)
    return np.log(p) - np.log1p(-p)


def check_method(method: str) -> str:
    """`method`, where it is one of METHODS or "auto". Raises UnknownCalibration."""
    if method != "auto" and method not in METHODS:
        raise UnknownCalibration(f"there is no calibration method {method!r}; choose auto or one of {', '.join(METHODS)}")
    return method


@dataclass(frozen=True)
class Calibration:
    """By head: p = sigmoid(slope * x + shift), where x is the logit, or for an isotonic head its map through the knots.

    `slope`, `shift` float32 (heads,); `knots` float32 (heads, 2, KNOTS): logits (ascending) and what they become, NaN where a
    head has none. Strictly increasing in the logit, so that no order changes, but for heads that answer a constant.
    """

    slope: np.ndarray
    shift: np.ndarray
    knots: np.ndarray
    methods: tuple[str, ...] = ()

    @staticmethod
    def identity(heads: int) -> Calibration:
        return Calibration(
            np.ones(heads, np.float32), np.zeros(heads, np.float32), np.full((heads, 2, KNOTS), np.nan, np.float32)
        )

    @staticmethod
    def fit(logits: np.ndarray, labels: np.ndarray, method: str = "auto") -> Calibration:
        """Fit on rows that no weight was trained on. `logits` float (n, heads), `labels` 0/1 (n, heads).

        "auto" chooses by head (see `choose`). Raises UnknownCalibration.
        """
        check_method(method)
        if logits.shape != labels.shape:
            raise ValueError(f"logits are {logits.shape}, labels {labels.shape}: they must agree")
        fitted = Calibration.identity(logits.shape[1])
        chosen = []
        for head in range(logits.shape[1]):
            x, y = logits[:, head].astype(np.float64), labels[:, head].astype(np.float64)
            chosen.append(choose(x, y) if method == "auto" else method)
            fitted.slope[head], fitted.shift[head], fitted.knots[head] = _FITS[chosen[-1]](x, y)
        return Calibration(fitted.slope, fitted.shift, fitted.knots, tuple(chosen))

    def answering(self, rates: Mapping[int, float]) -> Calibration:
        """This calibration, in which the heads at the places of `rates` answer that probability whatever their logit is."""
        slope, shift, knots, methods = self.slope.copy(), self.shift.copy(), self.knots.copy(), list(self.methods)
        for place, rate in rates.items():
            slope[place], shift[place], knots[place] = 0.0, np.clip(logit(np.array(rate)), -_MOST, _MOST), np.nan
            if methods:
                methods[place] = CONSTANT
        return Calibration(slope, shift, knots, tuple(methods))

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (n, heads)."""
        mapped = logits
        for head in np.flatnonzero(~np.isnan(self.knots[:, 0, 0])):
            mapped = logits.copy() if mapped is logits else mapped
            mapped[:, head] = _through(self.knots[head], logits[:, head])
        return sigmoid((mapped * self.slope + self.shift).astype(np.float32))

    # ---- storage ----------------------------------------------------------------------------------------------------
    def arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` reads; the methods' names go without: they change no probability."""
        return {"slope": self.slope, "shift": self.shift, "knots": self.knots}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray], methods: tuple[str, ...] = ()) -> Calibration:
        return Calibration(arrays["slope"], arrays["shift"], arrays["knots"], methods)


def choose(logits: np.ndarray, labels: np.ndarray) -> str:
    """The method whose maps, fitted on other folds, give the rows the lowest log loss; the simplest that is not clearly beaten.

    float64 (n,) both. Folds are dealt in turn, so the choice is the same on every run.
    """
    if len(labels) < FOLDS or labels.min() == labels.max():
        return "none" if len(labels) == 0 else "platt"
    losses = {method: np.empty(len(labels)) for method in METHODS}
    fold = np.arange(len(labels)) % FOLDS
    for held in range(FOLDS):
        inside, outside = fold != held, fold == held
        for method in METHODS:
            slope, shift, knots = _FITS[method](logits[inside], labels[inside])
            x = logits[outside] if np.isnan(knots[0, 0]) else _through(knots, logits[outside])
            losses[method][outside] = _losses(slope * x + shift, labels[outside])
    best = METHODS[0]
    for method in METHODS[1:]:
        gain = losses[best] - losses[method]
        if gain.mean() > SURE * gain.std() / len(gain) ** 0.5:
            best = method
    return best


Fitted = tuple[float, float, np.ndarray]


def _none(logits: np.ndarray, labels: np.ndarray) -> Fitted:
    return 1.0, 0.0, _no_knots()


def _temperature(logits: np.ndarray, labels: np.ndarray) -> Fitted:
    slope, _ = _newton(logits, labels, free_shift=False)
    return slope, 0.0, _no_knots()


def _platt(logits: np.ndarray, labels: np.ndarray) -> Fitted:
    return *_newton(logits, labels, free_shift=True), _no_knots()


def _isotonic(logits: np.ndarray, labels: np.ndarray) -> Fitted:
    """Pooled rows of one observed share become knots at their mean logit; few rows give few knots, one class none at all."""
    from sklearn.isotonic import IsotonicRegression

    if len(labels) < 2 * _LEAST_PER_KNOT or labels.min() == labels.max():
        return _platt(logits, labels)
    order = np.argsort(logits, kind="stable")
    parts = np.array_split(order, min(len(order) // _LEAST_PER_KNOT, 8 * KNOTS))
    x = np.array([logits[part].mean() for part in parts])
    count = np.array([len(part) for part in parts], np.float64)
    # One more row of the overall share in each part keeps shares of 0 and 1 away, which no finite logit gives.
    share = np.array([(labels[part].sum() + labels.mean()) / (len(part) + 1.0) for part in parts])
    level = IsotonicRegression().fit(x, share, sample_weight=count).predict(x)
    begins = np.flatnonzero(np.diff(level, prepend=-1.0) > 1e-9)
    weight = np.add.reduceat(count, begins)
    centre, pooled = np.add.reduceat(x * count, begins) / weight, level[begins]
    if len(begins) > KNOTS:
        kept = np.unique(np.linspace(0, len(begins) - 1, KNOTS).round().astype(int))
        centre, pooled = centre[kept], pooled[kept]
    if len(centre) < 2:
        return _platt(logits, labels)
    knots = _no_knots()
    knots[0, : len(centre)], knots[1, : len(centre)] = centre, logit(pooled)
    return 1.0, 0.0, knots


_FITS: dict[str, Callable[[np.ndarray, np.ndarray], Fitted]] = {
    "none": _none,
    "temperature": _temperature,
    "platt": _platt,
    "isotonic": _isotonic,
}


def _no_knots() -> np.ndarray:
    return np.full((2, KNOTS), np.nan, np.float32)


def _through(knots: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Logits through a head's knots: linear between them, of slope 1 beyond the outer ones."""
    place, value = knots[:, ~np.isnan(knots[0])].astype(np.float64)
    inside = np.interp(logits, place, value)
    return inside + np.minimum(logits - place[0], 0.0) + np.maximum(logits - place[-1], 0.0)


def _losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    clipped = np.clip(logits, -_MOST, _MOST)
    return np.logaddexp(0.0, clipped) - labels * clipped


def _newton(logits: np.ndarray, labels: np.ndarray, *, free_shift: bool) -> tuple[float, float]:
    """Newton's method on the penalised log loss; convex, and finite also where one class is missing."""
    precision = 1.0 / PRIOR_DEVIATION**2
    believed = np.array([1.0, 0.0])
    theta = believed.copy()
    held = np.eye(2) * np.array([0.0, 0.0 if free_shift else 1e12])
    for _ in range(_ITERATIONS):
        p = sigmoid(theta[0] * logits + theta[1])
        error, curvature = p - labels, p * (1.0 - p)
        gradient = np.array([(error * logits).sum(), error.sum()]) + precision * (theta - believed)
        crossed = (curvature * logits).sum()
        hessian = np.array([[(curvature * logits**2).sum(), crossed], [crossed, curvature.sum()]]) + precision * np.eye(2)
        step = np.clip(np.linalg.solve(hessian + held, gradient), -1.0, 1.0)
        theta -= step
        if np.abs(step).max() < 1e-9:
            break
    slope, shift = (float(value) for value in theta)
    return (slope, shift if free_shift else 0.0) if slope > 0 else (1.0, 0.0)
