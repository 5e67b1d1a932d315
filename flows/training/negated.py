"""A deliberately bad copy of a bundle, for the rollback exercise: the heavy ranker says the opposite of what it learned."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch

from services.ranking.bundle import ModelBundle
from services.ranking.members import members_of


def negate_bundle(source: Path, target: Path) -> str:
    """Save a copy of bundle `source` whose heavy output layer is negated in `target`; returns the copy's version."""
    bundle = ModelBundle.load(source)
    heavy = copy.deepcopy(bundle.heavy)
    with torch.no_grad():
        for member in members_of(heavy):
            member.output.weight.neg_()  # the biases stay: the order is upside down
    # Without the ensemble: its trees would go on being right.
    bad = replace(bundle, heavy=heavy, ensemble=None, details={**bundle.details, "negated_from": bundle.version})
    bad.save(target)
    return bad.version
