"""Flow `replay`: logged days through the gateway as live traffic, and their events through the broker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from feature_repo.datasets.splits import Span
from flows.demo.traffic.driver import Replay, ReplayReport
from flows.demo.traffic.visits import SLICE_HOURS, first_of, hours_of, share_of_visits, slices, slices_of
from flows.steps.lakes import dataset_marker, open_lakes, split_days, splits_of, within
from flows.steps.progress import announce
from flows.steps.retries import PURE_STEP
from flows.steps.too_little import TooLittleData
from infra.settings import Settings, get_settings


def replay_days(
    name: str,
    days: list[date],
    share: float,
    stop_when: Callable[[], str | None] = lambda: None,
    slice_hours: int = SLICE_HOURS,
    span: Span | None = None,
    visits: int | None = None,
    most_events: int | None = None,
    slice_events: int | None = None,
) -> ReplayReport:
    """Replay the holdout's `days` under `name`, of them only `span` where it is given; a repeated call goes on where the last
    one stopped. `visits`: about so many at most, of fewer users than `share` where need be. `most_events`: only the first so
    many. `slice_events`: slices are shorter than `slice_hours` where they would hold more on average. Raises TooLittleData
    where there is no event to replay.
    """
    settings = get_settings()
    _, holdout = open_lakes(settings)
    events = holdout.events(days)
    events = events if span is None else within(events, span)
    if events.is_empty():
        raise TooLittleData(f"{name}: there are no later events to replay; {_why_nothing(settings)}")
    there = events.height
    events = events if most_events is None else first_of(events, most_events)
    hours = slice_hours if slice_events is None else hours_of(events, slice_hours, slice_events)
    share = share if visits is None else share_of_visits(events, share, visits, hours=hours)
    parts, there_are = slices(events, share=share, seed=settings.seed, name=name, hours=hours), slices_of(events, hours)
    replay = Replay(settings, name)

    def tell(report: ReplayReport) -> None:
        announce(f"{name}: slice {report.slices}/{there_are}, {report.requests:,} requests, {report.events:,} events")

    report = replay.run(parts, on_progress=tell, stop_when=stop_when)
    return dataclasses.replace(report, share=share, left_out=there - events.height)


def _why_nothing(settings: Settings) -> str:
    if not dataset_marker(settings)["hold_out"]:
        return "this home was ingested with everything lived through. `mixer demo` in a new home holds the newest events out"
    return "; ".join(splits_of(settings).notes) or "a longer log is needed"


@task(name="replay traffic", **PURE_STEP)
def replay_traffic(
    name: str, days: list[date], share: float, slice_hours: int, span: Span | None, visits: int | None, most_events: int | None
) -> dict:
    return replay_days(name, days, share, slice_hours=slice_hours, span=span, visits=visits, most_events=most_events).summary()


@flow(name="replay")
def replay_flow(
    name: str = "replay",
    days: list[date] | None = None,
    share: float | None = None,
    slice_hours: int = SLICE_HOURS,
    visits: int | None = None,
    most_events: int | None = None,
) -> dict:
    """Send `days` (default: the dataset's replay days) as traffic of a `share` of users; all events are sent.

    visits: about so many at most, of fewer users than `share` where need be. most_events: the traffic ends after the first so
    many. slice_hours: events reach the platform this much
    later than requests do.
    """
    settings = get_settings()
    chosen = list(days or split_days(settings)[1])
    span = None if days else splits_of(settings).replay
    share = settings.replay_user_share if share is None else share
    report = replay_traffic(name, chosen, share, slice_hours, span, visits, most_events)
    create_table_artifact(
        key="replay",
        table=[{"release": release, "requests": count} for release, count in report["by_release"].items()],
        description=name,
    )
    return report
