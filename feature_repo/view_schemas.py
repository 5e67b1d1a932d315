"""What every online view holds, declared once: Feast's definitions (`views.py`) and the bulk writers are made from it.

Here is no Feast, so that a process which only writes or reads packed rows does not pay for loading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from feature_repo.aggregates.families import FAMILIES
from feature_repo.aggregates.ranking_state import Key
from feature_repo.history import STORED_COLUMNS


class Kind(StrEnum):
    """How one value of a feature is typed."""

    BYTES = "bytes"
    INT64 = "int64"
    FLOATS = "floats"  # array of float32
    INTS = "ints"  # array of int64


@dataclass(frozen=True)
class Feature:
    """One feature of a view."""

    name: str
    kind: Kind
    words: str


@dataclass(frozen=True)
class ViewSchema:
    """One view: the id columns of its keys, and its features. `pushed`: it takes rows through a push source too."""

    name: str
    ids: tuple[str, ...]
    features: tuple[Feature, ...]
    pushed: bool = False


_STATE = (
    Feature("state", Kind.FLOATS, "Packed aggregate state; columns: ranking_state.STATE_COLUMNS."),
    Feature("updated_at", Kind.INT64, "Time of the newest event in the state, microseconds UTC."),
)
_RANKING = (
    ViewSchema("user", (Key.USER.column,), (*_STATE, Feature("profile", Kind.FLOATS, "profiles.USER_PROFILE"))),
    ViewSchema(
        "user_history",
        (Key.USER.column,),
        (Feature("exposures", Kind.INTS, f"Newest exposures, packed: {STORED_COLUMNS}"),),
    ),
    ViewSchema(
        "post",
        (Key.POST.column,),
        (
            *_STATE,
            Feature("profile", Kind.FLOATS, "profiles.POST_PROFILE"),
            Feature("created_at", Kind.INT64, "Upload time, microseconds UTC."),
        ),
    ),
    ViewSchema("author", (Key.AUTHOR.column,), _STATE),
    ViewSchema("topic", (Key.TOPIC.column,), _STATE),
)

PACKED = "packed"
_CELLS = (Feature(PACKED, Kind.BYTES, "The key's cells in measure order, back to back: np.frombuffer(packed, cells.CELL)."),)


def aggregates_view(family: str) -> str:
    """Name of the view that holds the cells of `family`."""
    return f"{family}_aggregates"


RANKING_VIEWS = {view.name: view for view in _RANKING}
AGGREGATE_VIEWS = {
    aggregates_view(family.name): ViewSchema(aggregates_view(family.name), family.ids, _CELLS, pushed=True)
    for family in FAMILIES
}
VIEW_SCHEMAS = RANKING_VIEWS | AGGREGATE_VIEWS
