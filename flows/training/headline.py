"""A training's comparison in one line, by whichever action can be judged on the data at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feature_repo.ids.own_actions import NO_OWN_ACTIONS, with_own_names

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]


def headline_head(metrics: Metrics, deciding: Sequence[str] = ()) -> str | None:
    """The most common head for which every model has an AUC, of the `deciding` ones where any has; None where no head has one.

    `metrics`: model -> head -> metric, as `evaluate` returns them.
    """
    shared = set.intersection(*(set(heads) for heads in metrics.values())) if metrics else set()
    first = next(iter(metrics.values()), {})
    judged = [head for head in first if head in shared and all(heads[head]["auc"] is not None for heads in metrics.values())]
    judged = [head for head in judged if head in deciding] or judged
    return max(judged, key=lambda head: first[head].get("positives") or 0, default=None)


def headline(metrics: Metrics, deciding: Sequence[str] = (), own_actions: Mapping[str, str] = NO_OWN_ACTIONS) -> str:
    """AUC of every model on the head of `headline_head`, which is called by its own name, or why there is none."""
    head = headline_head(metrics, deciding)
    if head is not None:
        return f"{with_own_names(head, own_actions)} AUC " + ", ".join(
            f"{name} {heads[head]['auc']:.4f}" for name, heads in metrics.items()
        )
    if not metrics:
        return "not evaluated: there are no test rows"
    return "no AUC: no action was both taken and left out on the rows judged"
