"""Whatever the rows, quarantine loses none, doubles none, and a second pass over the clean rows finds nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.expectations.quarantine import split_quarantine
from tests.contract_rows import START, contract_rows

LATEST = datetime(2024, 6, 1, tzinfo=UTC)
SCHEMA = contract_rows(1)["events"].schema

event = st.fixed_dictionaries(
    {
        "event_id": st.one_of(st.none(), st.sampled_from(["", "a", "b", "c", "d", "e"])),
        "user_id": st.one_of(st.none(), st.integers(-2, 5)),
        "post_id": st.one_of(st.none(), st.integers(-2, 5)),
        "author_id": st.one_of(st.none(), st.integers(0, 3)),
        "action": st.sampled_from(["impression", "click", "dwell", "superlike", None]),
        "value": st.one_of(st.none(), st.sampled_from([0.0, 5.0, -1.0, float("inf"), float("nan")])),
        "product": st.sampled_from(["for_you", "history_before", None]),
        "position": st.one_of(st.none(), st.integers(-1, 3)),
        "propensity": st.one_of(st.none(), st.sampled_from([0.5, 1.0, 0.0, 1.5, float("nan")])),
        "request_id": st.sampled_from(["r1", None]),
        "occurred_at": st.one_of(st.none(), st.just(START), st.just(START + timedelta(days=9000))),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(event, max_size=25))
def test_clean_and_quarantined_rows_are_the_table_and_cleaning_is_idempotent(rows):
    table = pl.DataFrame(rows, schema={**SCHEMA, "release": pl.String}).select(SCHEMA.names())
    numbered = table.with_columns(language=pl.int_range(pl.len()).cast(pl.String))  # a witness column rides along

    split = split_quarantine("events", numbered, latest=LATEST)

    kept, aside = split.clean["language"].cast(int).to_list(), split.quarantined["language"].cast(int).to_list()
    assert sorted(kept + aside) == list(range(table.height))
    assert kept == sorted(kept)
    assert split.quarantined["rule"].null_count() == 0
    assert split_quarantine("events", split.clean, latest=LATEST).quarantined.is_empty()
