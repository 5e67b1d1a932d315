"""What a trained bundle is worth on later exposures, beside its baselines; what the rows cannot say is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import HEADS, judged_heads
from flows.training import baselines as peers
from flows.training.compare import auc_difference, compare
from flows.training.evaluate import auc, dwell_metrics, evaluate
from flows.training.fit_light import engaged
from flows.training.index_recall import index_recall
from flows.training.retrieval import recall
from flows.training.survival import survival
from services.ranking.bundle import ModelBundle, Predictions

LEADS = 4  # heads that the heavy ranker's lead over the trees is told of


def measured(
    bundle_folder: str,
    train: FeatureRows,
    test: FeatureRows,
    *,
    seed: int,
    threads: int,
    day_offset: timedelta = timedelta(0),
    baselines: bool = True,
    requests: int | None = None,
    deciding: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Every model on the same test rows: metrics by head, the heavy ranker's lead over LightGBM, retrieval, light ranker.

    The baselines read the bundle's collaborative vectors too; without `baselines` there are no trees. `requests`: slates that
    the light ranker's cut is tried on. `deciding`: heads that the owner decides by. `not_measured` says in
    sentences what the rows could not tell; without test rows there is nothing else.
    """
    if not len(test):
        sentence = "not evaluated: there are no exposures after the training days to judge a model on"
        return {"metrics": {}, "markdown": "", "test_rows": 0, "not_measured": [sentence]}
    tell("heavy ranker on the test days")
    bundle = ModelBundle.load(bundle_folder, threads=threads)
    test = bundle.extended(test)
    ours = bundle.predictions(test)
    trees_of = _compared_heads(test, deciding) if baselines else None
    predictions = _side_by_side(bundle, ours, train, test, seed, threads, trees_of, tell)
    table = compare({name: evaluate(p, test.labels, test, day_offset=day_offset) for name, p in predictions.items()})
    found = recall(bundle, train, test, seed=seed)
    return {
        "metrics": table.as_dict(),
        "markdown": table.markdown(),
        "heavy_minus_lightgbm_auc": _leads(predictions, test, seed),
        "light_ranker_auc": auc(bundle.light_score(test), engaged(test.labels)),
        "light_survival": survival(bundle, train, test, seed=seed, requests=requests),
        **({} if found is None else {"retrieval": found}),
        "index_recall": index_recall(bundle, train, test, seed=seed),
        "dwell": dwell_metrics(ours.dwell_s, test.dwell_s, train.dwell_s),
        "test_rows": len(test),
        "not_measured": _silent(train, test, found is not None),
    }


def _side_by_side(
    bundle: ModelBundle,
    ours: Predictions,
    train: FeatureRows,
    test: FeatureRows,
    seed: int,
    threads: int,
    trees_of: Sequence[str] | None,
    tell: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """Model -> probabilities float32 (n, len(HEADS)) on the test rows, in the order of the table; trees for heads `trees_of`,
    which is None where there are to be none."""
    predictions = {"popularity": peers.popularity(train, test)}
    if trees_of is not None:
        tell("LightGBM on the same features")
        predictions["LightGBM"] = peers.lightgbm(bundle.extended(train), test, seed=seed, threads=threads, heads=trees_of)
    predictions["heavy ranker"] = ours.heavy
    if bundle.ensemble is not None:
        predictions["ensemble"] = ours.final
    return predictions


def _compared_heads(test: FeatureRows, deciding: Sequence[str]) -> tuple[str, ...]:
    """Heads that trees are worth growing for: those that the test rows can judge, the commonest in any case, and `deciding`."""
    commonest = judged_heads(test.labels, LEADS, least=1)
    return tuple(dict.fromkeys([*judged_heads(test.labels), *commonest, *(head for head in HEADS if head in deciding)]))


def _leads(predictions: dict[str, np.ndarray], test: FeatureRows, seed: int) -> list[dict[str, Any]]:
    """AUC of the heavy ranker minus that of the trees, by head; empty without trees."""
    if "LightGBM" not in predictions:
        return []
    sides = predictions["heavy ranker"], predictions["LightGBM"]
    heads = judged_heads(test.labels, LEADS)
    leads = [auc_difference(*sides, test.labels, test.user_id, head, seed=seed) for head in heads]
    return [lead.__dict__ for lead in leads if lead is not None]


def _silent(train: FeatureRows, test: FeatureRows, has_recall: bool) -> list[str]:
    """What these rows cannot say, in sentences."""
    sentences = []
    if not judged_heads(test.labels, 1):
        sentences.append(
            f"no action was both taken and left out often enough on the {len(test):,} test exposures: no model is judged by one"
        )
    if not has_recall:
        known = int(np.isin(test.post_id, train.post_id).sum())
        sentences.append(
            f"retrieval is not judged: of {len(test):,} test exposures {known:,} are of posts that training knew, "
            "and none of those was engaged with"
        )
    return sentences
