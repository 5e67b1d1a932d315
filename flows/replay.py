"""Flow `replay`: logged days through the gateway as live traffic, and their events through the broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.lakes import open_lakes, split_days
from flows.progress import announce
from flows.retries import PURE_STEP
from flows.traffic.driver import Replay, ReplayReport
from flows.traffic.outcomes import ReferenceRates, reference_rates
from flows.traffic.visits import labelled_exposures, slices
from infra.settings import get_settings


def training_reference() -> ReferenceRates:
    """Smoothed rates per post over the training days: known before any replay, the same for all arms."""
    lake, _ = open_lakes(get_settings())
    train_end = split_days(get_settings())[0]
    events = lake.events([day for day in lake.event_days() if day <= train_end])
    return reference_rates(labelled_exposures(events))


def replay_days(name: str, days: list[date], share: float, stop_when: Callable[[], str | None] = lambda: None) -> ReplayReport:
    """Replay the holdout's `days` under `name`; a repeated call goes on where the last one stopped."""
    settings = get_settings()
    _, holdout = open_lakes(settings)
    parts = list(slices(holdout.events(days), share=share, seed=settings.seed, name=name))
    replay = Replay(settings, name, training_reference())

    def tell(report: ReplayReport) -> None:
        announce(f"{name}: slice {report.slices}/{len(parts)}, {report.requests:,} requests, {report.events:,} events")

    return replay.run(parts, on_progress=tell, stop_when=stop_when)


@task(name="replay traffic", **PURE_STEP)
def replay_traffic(name: str, days: list[date], share: float) -> dict:
    return replay_days(name, days, share).summary()


@flow(name="replay")
def replay_flow(name: str = "replay", days: list[date] | None = None, share: float | None = None) -> dict:
    """Send `days` (default: the dataset's replay days) as traffic of a `share` of users; all events are sent."""
    settings = get_settings()
    chosen = list(days or split_days(settings)[1])
    report = replay_traffic(name, chosen, settings.replay_user_share if share is None else share)
    create_table_artifact(
        key="replay",
        table=[{"release": release, "requests": count} for release, count in report["by_release"].items()],
        description=name,
    )
    return report
