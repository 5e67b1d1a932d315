"""The model registry: MLflow keeps every training's numbers and its bundle as plain files, and aliases say which one serves."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.ranking.bundle_files import DESCRIPTION, BundleError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from flows.training.fit import TrainReport
    from infra.settings import Settings

MODEL_NAME = "home-mixer-ranker"
EXPERIMENT = "home-mixer-training"
CHAMPION = "champion"
CHALLENGER = "challenger"
_BUNDLE = "bundle"


@dataclass(frozen=True)
class RegisteredTraining:
    """Where MLflow keeps a training."""

    run_id: str
    version: str  # of the registered model, "1", "2", ...


class UnknownModel(LookupError):
    """The registry has no such version or alias."""


def log_training(
    settings: Settings,
    report: TrainReport,
    tables: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    fingerprint: str,
    tags: Mapping[str, str] | None = None,
) -> RegisteredTraining:
    """Record a training and register its bundle as a new version of the model.

    `tables` maps a model's name to its metrics as `evaluate` returns them; `fingerprint` is that of the training data.
    The bundle is logged as files: nothing in the registry runs code when it is read.
    """
    from flows.training.compare import compare

    client = tracking_client(settings)
    run = client.create_run(experiment_id(client, settings), run_name=f"bundle-{report.version}")
    run_id = run.info.run_id
    try:
        log_numbers(client, run_id, _parameters(report, fingerprint), _metrics(report, tables), tags or {})
        if tables:
            client.log_text(run_id, compare(tables).markdown(), "comparison.md")
            client.log_text(run_id, json.dumps(tables, indent=2), "comparison.json")
        _log_bundle(client, run_id, report.folder)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return RegisteredTraining(run_id, _register(client, run_id, report, fingerprint))


def set_alias(settings: Settings, alias: str, version: str) -> None:
    """Point `alias` (such as "champion") at a version; UnknownModel where there is none."""
    client = tracking_client(settings)
    _look_up(client, version)
    client.set_registered_model_alias(MODEL_NAME, alias, version)


def champion(settings: Settings) -> str | None:
    """Version that the `champion` alias points at, None before the first."""
    return resolve(settings, CHAMPION)


def resolve(settings: Settings, alias: str) -> str | None:
    """Version that `alias` points at, None where the alias is not set."""
    from mlflow.exceptions import MlflowException

    try:
        return str(tracking_client(settings).get_model_version_by_alias(MODEL_NAME, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def download_bundle(settings: Settings, version_or_alias: str, target: Path) -> Path:
    """Copy a registered bundle into folder `target` and return it; a whole bundle already there is kept.

    `version_or_alias`: a number such as "3", or an alias. Raises UnknownModel where the registry has neither.
    """
    import mlflow

    version = version_or_alias if version_or_alias.isdigit() else resolve(settings, version_or_alias)
    if version is None:
        raise UnknownModel(f"{MODEL_NAME} has no alias {version_or_alias!r}; {_there_is(settings)}")
    client = tracking_client(settings)
    found = _look_up(client, version)
    target = Path(target)
    if (target / DESCRIPTION).exists():
        present = json.loads((target / DESCRIPTION).read_text())["version"]
        if present == found.tags.get("bundle_version"):
            return target
        raise BundleError(
            f"{target} already holds bundle {present}, not {found.tags.get('bundle_version')}: choose another folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        mlflow.artifacts.download_artifacts(
            run_id=found.run_id, artifact_path=_BUNDLE, dst_path=folder, tracking_uri=settings.tracking_uri
        )
        (Path(folder) / _BUNDLE).replace(target)  # whole or not at all
    return target


def _there_is(settings: Settings) -> str:
    """What could have been asked for, in words."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = tracking_client(settings).get_registered_model(MODEL_NAME).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        aliases = {}
    named = " and ".join(f"{alias!r} (version {version})" for alias, version in sorted(aliases.items()))
    return f"there is {named}" if named else "train and register a model first"


def look_up(settings: Settings, version: str) -> ModelVersion:
    """What the registry holds of `version`; UnknownModel where there is none."""
    return _look_up(tracking_client(settings), version)


def tag_version(settings: Settings, version: str, tags: Mapping[str, str]) -> None:
    """Put `tags` on a registered version."""
    client = tracking_client(settings)
    for name, value in tags.items():
        client.set_model_version_tag(MODEL_NAME, version, name, value)


def tracking_client(settings: Settings) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    settings.paths.mlflow.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def experiment_id(client: MlflowClient, settings: Settings) -> str:
    """Id of the experiment; its artifacts lie under home, not in the working folder as MLflow would have it."""
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return known.experiment_id
    local = settings.tracking_uri.startswith("sqlite:")
    location = (settings.paths.mlflow / "artifacts").as_uri() if local else None
    return client.create_experiment(EXPERIMENT, artifact_location=location)


def _parameters(report: TrainReport, fingerprint: str) -> dict[str, str]:
    named = {"bundle_version": report.version, "seed": report.seed, "rows": report.rows, "data_fingerprint": fingerprint}
    if report.ensemble:
        stacked = report.ensemble["used"]
        named["ensemble"] = "stacked" if stacked else "heavy ranker alone: the stack was no better on rows kept out"
    return {name: str(value) for name, value in named.items()}


def _metrics(report: TrainReport, tables: Mapping) -> dict[str, float]:
    """Flat metric names such as heavy.click.auc; an undefined metric is not logged."""
    flat = {f"seconds.{phase}": value for phase, value in report.seconds.items()}
    flat["peak_memory_mb"] = report.peak_memory_mb
    flat["heavy_rows_per_s"] = float(report.rows_per_s)
    for head, found in report.ensemble.get("heads", {}).items():
        flat |= {f"ensemble.{head}.{name}": found[name] for name in ("gain", "validation_gain", "log_loss", "log_loss_heavy")}
    for model, losses in report.losses.items():
        flat |= {f"{model}.loss.epoch_{epoch}": loss for epoch, loss in enumerate(losses)}
    for model, heads in tables.items():
        for head, metrics in heads.items():
            flat |= {f"{model}.{head}.{name}": float(value) for name, value in metrics.items() if value is not None}
    return flat


def log_numbers(
    client: MlflowClient, run_id: str, parameters: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str]
) -> None:
    """One batch: a write each would cost a database transaction each."""
    from mlflow.entities import Metric, Param, RunTag

    now_ms = int(time.time() * 1_000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now_ms, 0) for name, value in metrics.items()],
        params=[Param(name, value) for name, value in parameters.items()],
        tags=[RunTag(name, str(value)) for name, value in tags.items()],
    )


def _log_bundle(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log the bundle's files; checkpoints beside them are not part of it."""
    files = [*sorted(folder.glob("*.safetensors")), folder / DESCRIPTION]
    for file in files:
        client.log_artifact(run_id, str(file), _BUNDLE)


def _register(client: MlflowClient, run_id: str, report: TrainReport, fingerprint: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            MODEL_NAME, description="Two-tower, light and heavy ranker of one training, as one bundle."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{_BUNDLE}"
    tags = {"bundle_version": report.version, "data_fingerprint": fingerprint}
    return str(client.create_model_version(MODEL_NAME, source, run_id=run_id, tags=tags).version)


def _look_up(client: MlflowClient, version: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(MODEL_NAME, version)
    except MlflowException as error:
        raise UnknownModel(f"{MODEL_NAME} has no version {version!r} in {client.tracking_uri}") from error
