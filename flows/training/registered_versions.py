"""Questions that releases ask the model registry, beyond what training writes into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.training import registry
from infra.settings import Settings
from services.ranking.bundle_files import DESCRIPTION

NEGATED = "negated"


def version_of(settings: Settings, model: str) -> str:
    """The version that `model` means: itself where it is a number, else what the alias points at; raises UnknownModel."""
    if model.isdigit():
        return model
    version = registry.resolve(settings, model)
    if version is None:
        raise registry.UnknownModel(f"{registry.MODEL_NAME} has no alias {model!r}; train and register a model first")
    return version


def bundle_of(settings: Settings, model: str) -> Path:
    """Folder of the registered bundle of `model` (alias or version), copied from the registry where it is not there yet."""
    version = version_of(settings, model)
    return registry.download_bundle(settings, version, settings.paths.bundles / f"registry-v{version}")


def rows_learned(settings: Settings, model: str) -> int:
    """Exposures that `model` (alias or version) was trained on; 0 where its bundle does not say."""
    return int(_details(settings, model).get("rows", 0))


def _details(settings: Settings, model: str) -> dict[str, Any]:
    """What the training of `model` recorded with its bundle."""
    return json.loads((bundle_of(settings, model) / DESCRIPTION).read_text())["details"]


def data_fingerprint(settings: Settings, version: str) -> str:
    """Fingerprint of the data that model `version` was trained on."""
    return registry.look_up(settings, version).tags["data_fingerprint"]


def register_negated(settings: Settings, model: str) -> str:
    """Register a copy of `model` whose scores are negated, for the rollback exercise; returns its version.

    Done once per source version: the copy carries the version it was made from in its tags.
    """
    from flows.training.fit import TrainReport
    from flows.training.negated import negate_bundle

    source = version_of(settings, model)
    known = registry.resolve(settings, NEGATED)
    if known is not None and registry.look_up(settings, known).tags.get("negated_from") == source:
        return known
    folder = settings.paths.bundles / f"negated-v{source}"
    name = negate_bundle(bundle_of(settings, source), folder)
    report = TrainReport(folder, name, rows=0, seed=settings.seed, seconds={}, losses={}, peak_memory_mb=0.0)
    tags = {"deliberately_bad": "scores negated", "negated_from": source}
    made = registry.log_training(settings, report, {}, data_fingerprint(settings, source), tags).version
    registry.tag_version(settings, made, tags)
    registry.set_alias(settings, NEGATED, made)
    return made
