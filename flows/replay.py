"""Flow `replay`: logged days through the gateway as live traffic, and their events through the broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.lakes import open_lakes, split_days
from flows.progress import announce
from flows.retries import PURE_STEP
from flows.too_little import TooLittleData
from flows.traffic.driver import Replay, ReplayReport
from flows.traffic.outcomes import ReferenceRates, reference_rates
from flows.traffic.visits import SLICE_HOURS, labelled_exposures, slices
from infra.settings import get_settings


def training_reference() -> ReferenceRates:
    """Smoothed rates per post over the training days: known before any replay, the same for all arms."""
    lake, _ = open_lakes(get_settings())
    train_end = split_days(get_settings())[0]
    events = lake.events([day for day in lake.event_days() if day <= train_end])
    return reference_rates(labelled_exposures(events))


def replay_days(
    name: str,
    days: list[date],
    share: float,
    stop_when: Callable[[], str | None] = lambda: None,
    slice_hours: int = SLICE_HOURS,
) -> ReplayReport:
    """Replay the holdout's `days` under `name`; a repeated call goes on where the last one stopped.

    Raises TooLittleData where the days hold no event.
    """
    settings = get_settings()
    _, holdout = open_lakes(settings)
    events = holdout.events(days) if days else None
    if events is None or events.is_empty():
        raise TooLittleData(f"{name}: there are no later days to replay; a longer log is needed")
    parts = list(slices(events, share=share, seed=settings.seed, name=name, hours=slice_hours))
    replay = Replay(settings, name, training_reference())

    def tell(report: ReplayReport) -> None:
        announce(f"{name}: slice {report.slices}/{len(parts)}, {report.requests:,} requests, {report.events:,} events")

    return replay.run(parts, on_progress=tell, stop_when=stop_when)


@task(name="replay traffic", **PURE_STEP)
def replay_traffic(name: str, days: list[date], share: float, slice_hours: int) -> dict:
    return replay_days(name, days, share, slice_hours=slice_hours).summary()


@flow(name="replay")
def replay_flow(
    name: str = "replay", days: list[date] | None = None, share: float | None = None, slice_hours: int = SLICE_HOURS
) -> dict:
    """Send `days` (default: the dataset's replay days) as traffic of a `share` of users; all events are sent.

    slice_hours: events reach the platform this much later than requests do.
    """
    settings = get_settings()
    chosen = list(days or split_days(settings)[1])
    share = settings.replay_user_share if share is None else share
    report = {**replay_traffic(name, chosen, share, slice_hours), "share": share}
    create_table_artifact(
        key="replay",
        table=[{"release": release, "requests": count} for release, count in report["by_release"].items()],
        description=name,
    )
    return report
