"""What coded events add to the cells of a family, as portable Ibis expressions."""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import ibis.expr.types as ir

from feature_repo.aggregates.cell_columns import DISTINCT_COLUMNS
from feature_repo.aggregates.families import FAMILY_OF, Family
from feature_repo.aggregates.measures import COUNTED, MEASURE_INDEX, UNDATED, VALUED

FIRST_UNDATED = MEASURE_INDEX[next(iter(UNDATED))]  # measures from here on have a total and no window
NO_TOPIC = -1  # an event of a post without a topic belongs to no key with a topic


def updates(coded: ir.Table, family: Family) -> ir.Table:
    """(a, b, measure, at, amount): one row for each amount that an event adds to a cell of its key."""
    keyed = keyed_events(coded, family)
    one = ibis.literal(1.0, "float64")
    counted = keyed.filter(keyed.dated).select("a", "b", measure=keyed.action, at=keyed["at"], amount=one)
    timed = keyed.filter(keyed.dated & keyed.seconds.notnull())
    valued = timed.select("a", "b", measure=_measure(timed.action, VALUED), at=timed["at"], amount=timed.seconds)
    bounded = keyed.filter(~keyed.dated & keyed.action.isin([COUNTED.index(action) for action in UNDATED.values()]))
    undated = bounded.select("a", "b", measure=_measure(bounded.action, UNDATED), at=bounded["at"], amount=one)
    return ibis.union(counted, valued, undated)


def keyed_events(coded: ir.Table, family: Family) -> ir.Table:
    """`coded` with the family's ids as (a, b), without the events that belong to none of its keys."""
    if "topic" in family.ids:
        coded = coded.filter(coded.topic > NO_TOPIC)
    if not family.undated:
        coded = coded.filter(coded.dated)
    second = coded[family.ids[1]].cast("int64") if len(family.ids) > 1 else ibis.literal(0, "int64")
    return coded.mutate(a=coded[family.ids[0]].cast("int64"), b=second)


def counterparts(family: Family) -> Iterator[tuple[str, str]]:
    """(distinct column, id column that is counted in it)."""
    for column, pair in zip(DISTINCT_COLUMNS, family.distinct, strict=False):
        (other,) = set(FAMILY_OF[pair].ids) - set(family.ids)
        yield column, other


def meetings(coded: ir.Table, family: Family, counterpart: str) -> ir.Table:
    """(a, measure, counterpart, met_at): when a key first met each counterpart by a counted measure."""
    met = keyed_events(coded.filter(coded.dated), family)
    if counterpart == "topic":
        met = met.filter(met.topic > NO_TOPIC)
    return met.group_by(["a", "action", counterpart]).aggregate(met_at=met["at"].min()).rename(measure="action")


def _measure(action: ir.IntegerColumn, measures: dict[str, str]) -> ir.IntegerColumn:
    """The measure of each action code, by a dict measure -> action."""
    branches = [(COUNTED.index(name), ibis.literal(MEASURE_INDEX[measure], "int8")) for measure, name in measures.items()]
    return action.cases(*branches, else_=ibis.literal(-1, "int8"))
