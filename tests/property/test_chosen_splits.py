"""Whatever times a log has, its parts follow each other, training is never empty, and no event but strays is in no part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.datasets.chosen_splits import choose_splits
from feature_repo.datasets.event_counts import EventCounts
from tests.given_dataset import SCHEMAS, event

MOMENTS = st.datetimes(datetime(1995, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))
NEAR = st.integers(0, 100_000).map(lambda s: datetime(2024, 5, 1, tzinfo=UTC) + timedelta(seconds=s))


@given(
    moments=st.lists(st.one_of(MOMENTS, NEAR), min_size=1, max_size=60),
    share=st.floats(0.05, 0.95),
    offset=st.sampled_from([timedelta(0), timedelta(hours=5, minutes=30), timedelta(hours=-8)]),
)
def test_parts_follow_each_other_and_hold_every_event_but_late_strays(moments, share, offset) -> None:
    times = EventCounts(offset)
    times.add(pl.DataFrame([event(n, moment) for n, moment in enumerate(moments)], schema=SCHEMAS["events"]))
    splits = choose_splits(times, share)
    assert min(moments) < splits.train_end == splits.replay[0] <= splits.replay[1] == splits.canary[0] <= splits.canary[1]
    late = sum(moment >= splits.canary[1] for moment in moments)
    assert late <= max(len(moments) // 100, min(3, len(moments) // 10))
    blocks = len({moment.replace(second=0, microsecond=0) for moment in moments if moment < splits.canary[1]})
    if blocks >= 6:  # three of them may be early strays
        assert all(any(start <= moment < end for moment in moments) for start, end in (splits.replay, splits.canary))
