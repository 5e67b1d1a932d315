"""Who takes part, the cheap ones first: a run that breaks has most of its table by then."""

from __future__ import annotations

from functools import partial

from flows.training.chosen_options import training_options
from infra.settings import Settings
from tests.bench.quality import als, boosted, din, logistic, ours, popularity, sasrec
from tests.bench.quality.peer import Peer

_HERE = "tests/bench/quality"
_SHARED = (
    f"{_HERE}/measured_heads.py",
    f"{_HERE}/validation.py",
    "services/ranking/collaborative.py",
    "flows/training/fit_collaborative.py",
)
_SCORED = (*_SHARED, f"{_HERE}/positives.py", f"{_HERE}/score_map.py")
_BASELINES = (*_SHARED, "flows/training/baselines.py", "flows/training/fit_light.py", "services/ranking/normalise.py")
_OURS = (*_SHARED, f"{_HERE}/ours.py", "flows/training", "services/ranking")
_TREES = (*_SHARED, f"{_HERE}/boosted.py", "services/ranking/trees.py")
_DIN = (
    *_SHARED,
    f"{_HERE}/din.py",
    f"{_HERE}/din_network.py",
    "flows/training/epochs.py",
    *(f"services/ranking/{name}.py" for name in ("calibration", "inputs", "normalise", "id_hashing")),
)

FEATURES = "all features"


def roster(settings: Settings) -> tuple[Peer, ...]:
    """Every contestant, in the order in which they run and are shown."""
    options = {name: value for name, value in training_options(settings).items() if name not in ("seed", "threads", "preset")}
    return (
        Peer("popularity", ("popularity",), popularity.fit, (*_BASELINES, f"{_HERE}/popularity.py"), False, "post"),
        Peer("als", ("implicit ALS",), als.fit, (*_SCORED, f"{_HERE}/als.py"), reads="who liked what"),
        Peer("logistic", ("logistic regression",), logistic.fit, (*_BASELINES, f"{_HERE}/logistic.py"), False, FEATURES),
        Peer("lightgbm", (boosted.NAME,), boosted.fit, _TREES, reads=FEATURES),
        Peer("masknet", (ours.MASKNET,), ours.fit_masknet, _OURS, reads=f"{FEATURES}, ids", extends=True),
        Peer("din", (din.NAME,), din.fit, _DIN, reads=f"{FEATURES}, ids, history"),
        Peer(
            "sasrec",
            (sasrec.NAME,),
            partial(sasrec.fit, environments=settings.paths.environments),
            (*_SCORED, f"{_HERE}/sasrec.py", f"{_HERE}/sasrec_program.py"),
            reads="sequence of likes",
        ),
        Peer("ours", (ours.HEAVY, ours.CHAMPION), ours.fit, _OURS, True, f"{FEATURES}, ids, history", True, options),
    )
