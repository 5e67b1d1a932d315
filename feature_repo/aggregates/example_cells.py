"""A key with a short past that one can keep in mind: what a feature says of it is the example in its documentation."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.catalogue import Feature
from feature_repo.aggregates.cell_rows import CellRows
from feature_repo.aggregates.cells import BUCKET_US, ERA_US, SPANS_US, empty_cells
from feature_repo.aggregates.measures import BUCKETS, COUNTED, MEASURE_INDEX, MEASURES, MINUTE_US, UNDATED, VALUED
from feature_repo.aggregates.phrases import NOUNS, action_of
from feature_repo.aggregates.statistics import DISTINCT

IMPRESSIONS = 20
EVENTS = 3
SECONDS = 12  # of every event that has a value
COUNTERPARTS = 2  # first meetings, of either kind
AGO_MINUTES = 2  # inside every window


def example_words(feature: Feature) -> str:
    """The past of `example_rows(feature.measure)`, as far as the feature sees it."""
    measure = feature.measure
    events = f"{IMPRESSIONS} impressions"
    action = action_of(measure)
    if action != "impression":
        events += f" and {EVENTS} {NOUNS[action][1]}" + (f" of {SECONDS} s each" if measure in VALUED else "")
    if measure in UNDATED:
        return f"a key with {events} from before the first logged day"
    if feature.statistic.startswith(DISTINCT):
        events += f" with {COUNTERPARTS} different {feature.unit}"
    return f"a key with {events}, {AGO_MINUTES} minutes ago"


def example_rows(measure: str, now_us: int) -> CellRows:
    """One key that had impressions, and some events of the measure's action, AGO_MINUTES before `now_us`."""
    cells = empty_cells(len(MEASURES))
    action = action_of(measure).value
    events = {action: EVENTS} | {"impression": IMPRESSIONS}
    if measure in UNDATED:
        events = {name: events[counted] for name, counted in UNDATED.items() if counted in events}
    for name, count in events.items():
        cells[MEASURE_INDEX[name]] = _cell(name, count, count, now_us - AGO_MINUTES * MINUTE_US)
    if measure in VALUED:
        cells[MEASURE_INDEX[measure]] = _cell(measure, EVENTS * SECONDS, EVENTS, now_us - AGO_MINUTES * MINUTE_US)
    return CellRows.of_dense(cells[None])


def _cell(measure: str, amount: float, events: int, at_us: int) -> np.void:
    """A cell of events that all happened at one moment."""
    cell = empty_cells(1)
    cell["measure"], cell["newest_us"], cell["total"] = MEASURE_INDEX[measure], at_us, amount
    if measure not in UNDATED:
        cell["era"] = at_us // ERA_US
        cell["faded"] = amount * np.exp2((at_us % ERA_US) / SPANS_US)
    if measure in COUNTED:
        cell["bucket"] = at_us // BUCKET_US
        cell["ring"][0, np.arange(len(SPANS_US)), at_us // BUCKET_US % BUCKETS] = events
        cell["distinct"] = COUNTERPARTS
    return cell[0]
