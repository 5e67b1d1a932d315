"""What a tour says of itself before it starts: the data, how it is parted, what will be done and how long it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from flows.demo.plan import Plan
from flows.training.limits import TrainingLimits
from infra.settings import Settings

TO_DO = {
    "ingest": "ingest and validate the data",
    "features": "build features",
    "train": "train a first model",
    "release": "release it",
    "replay": "replay later days as live traffic",
    "drift": "check drift",
    "fault": "plant a fault and retrain",
    "canary": "take the challenger through a canary",
    "bad_release": "and a bad release out of one",
}


def announced(settings: Settings, plan: Plan, asked: str | None, left_out: Collection[str]) -> Iterator[str]:
    """The lines, in order. `asked`: the plan that the command named, which a run that is carried on does not take. `left_out`:
    stages that this call does not go on to.
    """
    yield from _of_dataset(settings)
    yield f"plan: {plan.name}, {plan.takes} on two cores"
    if asked is not None and asked != plan.name:
        yield f"this run was begun as {plan.name!r} and stays so; --fresh begins a new one as {asked!r}"
    yield f"training: {_of_training(plan.train)}; retraining: {_of_training(plan.retrain)}"
    words = [said for stage, said in TO_DO.items() if stage not in left_out]
    yield f"to do: {', '.join(words)}" + ("; `mixer demo` goes on from there" if left_out else "")


def _of_dataset(settings: Settings) -> Iterator[str]:
    from feature_repo.datasets.adapter import DatasetNotFound, MalformedFile, open_adapter

    try:
        adapter = open_adapter(settings)
        simulated = " (simulated)" if adapter.simulated else ""
        yield f"dataset: {adapter.label}{simulated}"
        if adapter.splits is None or settings.split_train_share is not None:
            yield "splits: chosen at ingestion from where the events are"
        else:
            yield f"splits: {adapter.splits.in_words(adapter.day_offset)}"
    except (DatasetNotFound, MalformedFile) as error:
        yield f"dataset: {error}"


def _of_training(limits: TrainingLimits | None) -> str:
    if limits is None or limits.seconds is None:
        return "all of the data"
    return f"as many users, drawn by a hash, as fit into {limits.seconds:.0f} s of fitting (--full takes all)"
