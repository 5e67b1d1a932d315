"""Events as the batch engine reads them: names become small codes, values become capped seconds, once for all families.

A portable Ibis expression; whoever aggregates several families writes it to Parquet first.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from feature_repo.aggregates.families import ID_COLUMNS
from feature_repo.aggregates.measures import COUNTED, HOUR_US, VALUE_CAP_S, VALUED
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.surfaces import surface_code

CODED_COLUMNS = (*ID_COLUMNS, "action", "dated", "seconds", "at")


def coded_events(events: ir.Table) -> ir.Table:
    """Expression of (user_id, post_id, author_id int64; topic int32; hour int8; product int32 code; action int8: place in
    COUNTED; dated bool; seconds float64, null where the event adds none; at int64 us).

    `events` has the columns of `event_log.read_events`; of those, event_id, position and request_id are not needed.
    Reads the distinct names first: a product's code is a stable hash that no query engine has, and an action outside the
    closed set raises ValueError.
    """
    named = events.select("action", "product").distinct().to_pyarrow()
    actions, products = (sorted(set(named[column].to_pylist())) for column in ("action", "product"))
    for action in actions:
        if action not in COUNTED:
            raise ValueError(f"events have action {action!r}, none of {', '.join(COUNTED)}; see contracts.split_events")
    timed = events["action"].isin(list(VALUED.values())) & (events["product"] != HISTORY_BEFORE)
    seconds = (events["value"] / 1000.0).clip(lower=0.0, upper=VALUE_CAP_S)
    return events.select(
        user_id=events.user_id.cast("int64"),
        post_id=events.post_id.cast("int64"),
        author_id=events.author_id.cast("int64"),
        topic=events.topic.cast("int32"),
        hour=((events["at"] // HOUR_US) % 24).cast("int8"),
        product=_code(events["product"], {name: surface_code(name) for name in products}).cast("int32"),
        action=_code(events["action"], {name: place for place, name in enumerate(COUNTED)}).cast("int8"),
        dated=events["product"] != HISTORY_BEFORE,
        seconds=timed.ifelse(seconds, ibis.null("float64")),
        at=events["at"],
    )


def _code(column: ir.StringColumn, codes: dict[str, int]) -> ir.IntegerColumn:
    """The code of each name. Every name has one."""
    branches = [(name, ibis.literal(code, "int64")) for name, code in codes.items()]
    return column.cases(*branches) if branches else ibis.null("int64")
