"""A mute holds from the event that declared it, whatever the edges table says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from feature_repo.contracts import EDGES, EVENTS, TABLES
from feature_repo.declared_relations import current_edges
from feature_repo.lake import Lake

NOON = datetime(2022, 5, 2, 12, tzinfo=UTC)


def _event(number: int, action: str, minute: int) -> dict:
    empty = dict.fromkeys(EVENTS.names)
    at = NOON + timedelta(minutes=minute)
    known = {"event_id": f"e{number}", "user_id": 1, "post_id": 5, "author_id": 9, "action": action, "product": "for_you"}
    return {**empty, **known, "occurred_at": at}


def test_declared_relations_stand_beside_the_table_with_their_first_moment(tmp_path):
    lake = Lake(tmp_path)
    schema = pl.from_arrow(TABLES["events"].empty_table()).schema
    events = [_event(1, "mute", 3), _event(2, "mute", 7), _event(3, "follow", 1), _event(4, "click", 0)]
    lake.write_events(pl.DataFrame(events, schema=schema), "live")
    edges = current_edges(lake)
    assert edges.columns == EDGES.names
    assert edges.select("user_id", "target_id", "kind", "derived").rows() == [(1, 9, "follow", False), (1, 9, "mute", False)]
    assert edges["created_at"].to_list() == [NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)]


def test_an_empty_lake_declares_nothing(tmp_path):
    assert current_edges(Lake(tmp_path)).height == 0
