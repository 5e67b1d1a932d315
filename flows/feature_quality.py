"""Flow `feature_quality`: every feature of the catalogue on a sample of impressions, judged, on one page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.steps.lakes import dataset_marker, open_lakes
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE
from infra.settings import get_settings

ROWS_PER_SIDE = 1_500
REFERENCE_DAYS = 3  # before the newest day


@task(name="sample and judge", **FLAKY_EDGE)
def sample_and_judge(rows_per_side: int) -> dict[str, Any]:
    """Compute the sample's features from the lake, judge them, write the page; returns the figures."""
    from feature_repo.catalogue_sample import family_samples, sample_impressions
    from feature_repo.event_log import read_events
    from monitoring.feature_quality.quality import judge_features
    from monitoring.feature_quality.report import FOLDER, QualityReport, write_report

    settings = get_settings()
    lake, _ = open_lakes(settings)
    days = lake.event_days()
    if len(days) < 2:
        raise ValueError(f"the lake holds {len(days)} days of events; quality compares the newest day with those before it")
    events = read_events([lake])
    asked = sample_impressions(lake, events, days[-1 - REFERENCE_DAYS : -1], days[-1:], rows_per_side, settings.seed)
    samples = []
    for sample in family_samples(events, asked):
        announce(f"features of {sample.family.name} for {len(asked):,} impressions")
        samples.append(sample)
    announce("judging them")
    families = judge_features(asked, samples, seed=settings.seed, threads=1)
    label = dataset_marker(settings)["label"]
    report = QualityReport(datetime.now(UTC), label, len(asked), asked.reference_days, asked.window_days, families)
    write_report(report, settings.paths.reports / FOLDER)
    return report.to_dict()


@flow(name="feature_quality")
def feature_quality_flow(rows_per_side: int = ROWS_PER_SIDE) -> dict[str, Any]:
    """Judge all features on `rows_per_side` impressions of the newest day and as many of the days before."""
    found = sample_and_judge(rows_per_side)
    create_table_artifact(key="feature-quality", table=found["families"], description=f"Feature quality: {found['label']}")
    create_link_artifact(
        key="feature-quality-report",
        link=f"{get_settings().gateway_url}/reports/feature_quality/index.html",
        link_text=f"Quality of {found['features']:,} features",
    )
    return found
