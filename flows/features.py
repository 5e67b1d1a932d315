"""Flow `features`: definitions, aggregates, online store, snapshot and stream state brought up to a moment."""

from __future__ import annotations

from datetime import date, datetime

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.steps.days import day_end
from flows.steps.lakes import ingest_marker, lived_until, open_lakes
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE
from flows.stream import seed_stream
from infra.settings import get_settings


@task(name="derive follow graph", **FLAKY_EDGE)
def derive_edges() -> int:
    """Follow edges from engagements, for datasets that log no follow graph; labelled derived."""
    from feature_repo.datasets.derived_edges import derive_follow_edges

    lake, _ = open_lakes(get_settings())
    ingested = ingest_marker(get_settings())
    if not ingested["edges_derived"]:
        return lake.read("edges").height
    # The same part that ingestion wrote: the graph grows with the days lived through, and stands once.
    return lake.write("edges", derive_follow_edges(lake.scan_events()), part=ingested["dataset"])


@task(name="posts of live events", **FLAKY_EDGE)
def derive_live_posts() -> int:
    """Rows of posts that only live events named so far."""
    from feature_repo.live_posts import write_live_posts

    return write_live_posts(open_lakes(get_settings())[0], get_settings().platform_database_url)


@task(name="feast apply", **FLAKY_EDGE)
def apply_definitions() -> list[str]:
    from feature_repo.feature_store import apply

    return apply(get_settings())


@task(name="batch aggregates", **FLAKY_EDGE)
def build_aggregates(end: datetime) -> dict[str, int]:
    from feature_repo.feature_store import build_offline

    return build_offline(get_settings(), [open_lakes(get_settings())[0]], until=end)


@task(name="materialise", **FLAKY_EDGE)
def materialise_until(end: datetime) -> dict[str, int]:
    from feature_repo.feature_store import materialise

    return materialise(get_settings(), end)


@task(name="publish snapshot", **FLAKY_EDGE)
def publish_snapshot(end: datetime) -> dict:
    from feature_repo.snapshot import build_snapshot, publish

    settings = get_settings()
    lake, _ = open_lakes(settings)
    snapshot = build_snapshot(settings, lake, end)
    publish(settings, snapshot)
    return {"version": snapshot.version, "posts": len(snapshot.post_id)}


@flow(name="features")
def features_flow(until: date | None = None, stream: bool = True) -> dict:
    """Rebuild all features as of the end of local day `until` (default: all that was lived through when it was ingested).

    stream: whether the stream worker's state is seeded too; without it live events wait until flow `stream` has seeded it.
    """
    from feature_repo.offline import unanswered_actions

    settings = get_settings()
    end = _until(until)
    live_posts = derive_live_posts()
    announce("deriving the follow graph")
    edges = derive_edges()
    announce("feast apply")
    names = apply_definitions()
    announce("batch aggregates (Ibis on DuckDB)")
    built = build_aggregates(end)
    announce(f"materialising up to {end:%Y-%m-%d %H:%M} UTC")
    written = materialise_until(end)
    if stream:
        announce("seeding the stream worker's state")
        seed_stream(end)
    snapshot = publish_snapshot(end)
    create_table_artifact(
        key="features",
        table=[{"view": view, "offline rows": built.get(view), "online rows": rows} for view, rows in written.items()],
        description=f"Feature views as of {end:%Y-%m-%d %H:%M} UTC; snapshot {snapshot['version']}",
    )
    return {
        "as_of": end.isoformat(),
        "definitions": names,
        "offline": built,
        "unanswered": unanswered_actions(settings),
        "online": written,
        "edges": edges,
        "live_posts": live_posts,
        "snapshot": snapshot,
    }


def _until(day: date | None) -> datetime:
    """The moment that features are brought up to: the end of local `day`, or of all that was lived through."""
    settings = get_settings()
    return lived_until(settings) if day is None else day_end(day, open_lakes(settings)[0].day_offset)
