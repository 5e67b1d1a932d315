"""What a tour says of itself before it starts: the data, how it is parted, what will be done and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.demo.plan import Plan
from flows.training.limits import TrainingLimits
from infra.settings import Settings


def announced(settings: Settings, plan: Plan, asked: str | None) -> Iterator[str]:
    """The lines, in order. `asked`: the plan that the command named, which a run that is carried on does not take."""
    yield from _of_dataset(settings)
    yield f"plan: {plan.name}, {plan.takes} on two cores"
    if asked is not None and asked != plan.name:
        yield f"this run was begun as {plan.name!r} and stays so; --fresh begins a new one as {asked!r}"
    yield f"training: {_of_training(plan.train)}; retraining: {_of_training(plan.retrain)}"
    yield (
        "to do: ingest and validate the data, build features, train and release a first model, replay later days as live "
        "traffic, check drift, plant a fault and retrain, take the challenger through a canary, and a bad release out of one"
    )


def _of_dataset(settings: Settings) -> Iterator[str]:
    from feature_repo.datasets.adapter import DatasetNotFound, MalformedFile, open_adapter

    try:
        adapter = open_adapter(settings)
        simulated = " (simulated)" if adapter.simulated else ""
        yield f"dataset: {adapter.label}{simulated}"
        yield f"splits: {splits_in_words(adapter.splits)}"
    except (DatasetNotFound, MalformedFile) as error:
        yield f"dataset: {error}"


def splits_in_words(splits: Any) -> str:
    """Training's end, the replayed days and the canary's, and what a part lacks."""
    parts = [f"learned from up to {splits.train_end:%Y-%m-%d}"]
    for name, part in (("replayed", splits.replay), ("for canaries", splits.canary)):
        parts.append(f"{name} {part[0]:%Y-%m-%d} to {part[-1]:%Y-%m-%d}" if part else f"{name} nothing")
    return ", ".join([*parts, *getattr(splits, "notes", ())])


def _of_training(limits: TrainingLimits | None) -> str:
    if limits is None or limits.seconds is None:
        return "all of the data"
    return f"as many users, drawn by a hash, as fit into {limits.seconds:.0f} s of fitting (--full takes all)"
