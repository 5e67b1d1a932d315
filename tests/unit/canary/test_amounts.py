"""Worsenings and differences in words say nothing that can't be."""

from __future__ import annotations

import math
import re

import pytest

from monitoring.canary.amounts import seen, signed, worsening_seen
from monitoring.canary.verdict import MetricResult


def result(detectable: float, **changes: object) -> MetricResult:
    values = {"label": "m", "role": "decides", "better": "higher", "control": 0.3, "treatment": 0.3, "difference": 0.0}
    values |= {"low": -1.6, "high": 1.6, "null": 0.0, "limit": -0.02, "decision": "inconclusive", "alpha": 0.01}
    values |= {"control_users": 9, "treatment_users": 9, "unit": "actions", "scale": "relative"}
    return MetricResult(name="m", detectable=detectable, **(values | changes))


FAILED = {"better": "lower", "scale": "absolute", "unit": "share"}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (result(0.4), "a loss of 40 %"),
        (result(1.3), "not even a loss of everything"),
        (result(math.inf), "not even a loss of everything"),
        (result(0.2, **FAILED), "a rise of 20 points"),
        (result(0.8, **FAILED), "not even the worst there can be"),
        (result(1.3, better="lower", unit="nats"), "a rise of 130 %"),
        (result(2.5, better="lower", scale="ratio", unit="ms"), "a rise by a factor of 2.5"),
        (result(math.inf, better="lower", scale="ratio", unit="ms"), "not even the worst there can be"),
    ],
)
def test_a_worsening_is_a_loss_or_a_rise_and_no_number_where_it_is_more_than_there_can_be(metric, said):
    assert worsening_seen(metric) == said
    assert seen(metric) == re.sub(r"^a (loss|rise) (of|by) ", "", said)


def test_nothing_falls_by_more_than_all_of_it():
    wide = result(1.6)
    assert (signed(wide, wide.low), signed(wide, wide.high)) == ("-100 %", "+160 %")
    assert signed(result(1.6, better="lower", unit="nats", scale="absolute"), -1.6) == "-1.6"
