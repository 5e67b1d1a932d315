"""The model that is judged, and how far into the log it has learned."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from feature_repo.lake import Lake
from flows.steps.days import microseconds
from flows.steps.lakes import splits_of
from infra.settings import Settings
from services.ranking.bundle import ModelBundle


def judged_bundle(settings: Settings, model: str, folder: Path | None) -> tuple[ModelBundle, str]:
    """The bundle in `folder`, or the one registered as `model` (alias or version), with its name in reports.

    Raises BundleError, and ValueError for a model that the registry does not have.
    """
    if folder is None:
        from flows.training.registered_versions import bundle_of
        from flows.training.registry import UnknownModel

        try:
            folder, name = bundle_of(settings, model), model
        except UnknownModel as error:
            raise ValueError(f"{error} (`mixer run train`), or give the folder of a bundle with --bundle") from error
    else:
        name = folder.name
    return ModelBundle.load(folder, threads=settings.threads), name


def trained_until(settings: Settings, bundle: ModelBundle, lake: Lake) -> int:
    """The last microsecond that the model learned from; a bundle that does not say learned from the training days."""
    if "trained_until_us" in bundle.details:
        return int(bundle.details["trained_until_us"])
    return microseconds(splits_of(settings).train_end) - 1


def already_seen(learned_until: int, at_us: np.ndarray, what: str) -> list[str]:
    """A warning, where some of what is judged is no later than what the model learned from; else none.

    at_us: int64 (n,), of the judged `what` ("exposures").
    """
    early = int((at_us <= learned_until).sum())
    if early == 0:
        return []
    return [
        f"{early:,} of {len(at_us):,} {what} are no later than {moment(learned_until)}, up to which the model learned: "
        "there it is judged on what it may have seen"
    ]


def moment(at_us: int) -> str:
    """Microseconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds")
