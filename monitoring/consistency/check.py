"""The consistency check: what was served and what the lake gives, over the whole platform of some settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl

from feature_repo.lake import Lake
from feature_repo.recomputation.arrivals import arrived_events
from feature_repo.recomputation.served_vectors import read_served_vectors
from infra.settings import Settings
from monitoring.consistency.mismatch import FamilyMismatch, compare_pairs
from monitoring.consistency.report import ConsistencyReport

SAMPLED_FOR_US = 24 * 3_600 * 1_000_000  # requests of the last day are looked at
MOST_SERVED = 4_000  # vectors of requests, the newest
SEED = 20

Tell = Callable[[str], None]


def check_consistency(settings: Settings, lake: Lake, label: str, keys_per_family: int, tell: Tell) -> ConsistencyReport:
    """Recompute two samples from the events of `lake` and compare: the aggregates that ranked requests really read (the
    mixers log them), and the cells of `keys_per_family` keys of every family, read from the online store now.

    `label` names the dataset on the report. `tell` hears what is being done.
    """
    left_out: list[str] = []
    ranking = _ranking(settings, lake, left_out, tell)
    families = _families(settings, lake, keys_per_family, left_out, tell)
    found = (*ranking, *families)
    return ConsistencyReport(datetime.now(UTC), label, settings.consistency_bound, found, tuple(left_out))


def _ranking(settings: Settings, lake: Lake, left_out: list[str], tell: Tell) -> list[FamilyMismatch]:
    from feature_repo.recomputation.ranking_vectors import ranking_pairs

    since_us = time.time_ns() // 1_000 - SAMPLED_FOR_US
    served = read_served_vectors(settings.paths.served_vectors, since_us)[-MOST_SERVED:]
    if not served:
        left_out.append("No ranked request was sampled in the last day: of the ranker's vectors there is nothing to recompute.")
        return []
    tell(f"recomputing {len(served):,} vectors of sampled requests")
    return [compare_pairs(pairs) for pairs in ranking_pairs(served, _arrived(settings, lake), settings.paths.features)]


def _families(settings: Settings, lake: Lake, keys_per_family: int, left_out: list[str], tell: Tell) -> list[FamilyMismatch]:
    from feature_repo.aggregates.stream_output import read_progress
    from feature_repo.recomputation.family_vectors import catalogue_pairs
    from feature_repo.recomputation.online_cells import read_sample

    progress = read_progress(settings)
    if progress is None or progress["newest_event_us"] is None:
        left_out.append("No stream worker has saved yet: the catalogue's families are not in the online store.")
        return []
    if progress["waiting"]:
        left_out.append(
            f"{progress['waiting']:,} keys wait to be written to the online store, so rows of the catalogue's families that "
            "lack events are not counted as differing; run the check again when the stream worker has caught up."
        )
    tell(f"reading {keys_per_family} keys of every family from the online store")
    online = read_sample(settings, _arrived(settings, lake), keys_per_family, SEED)
    # Rows that wait to be written may be of any key: only with none waiting is it known what the store must hold.
    complete_us = 0 if progress["waiting"] else round(progress["written_at"] * 1e6)
    tell("recomputing them")
    # The lake is read again: the sample may hold events that were saved since.
    pairs = catalogue_pairs(online, _arrived(settings, lake), progress["newest_event_us"], complete_us)
    return [compare_pairs(one) for one in pairs]


def _arrived(settings: Settings, lake: Lake) -> pl.DataFrame:
    from feature_repo.feature_store import MATERIALISED

    materialised = settings.paths.features / MATERIALISED
    at_us = materialised.stat().st_mtime_ns // 1_000 if materialised.exists() else None
    return arrived_events(lake, at_us)
