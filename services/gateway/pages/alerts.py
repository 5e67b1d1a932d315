"""Freshness and alerts as the control room shows them."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from monitoring.alerts.rule import AlertState, Sample, evaluate
from monitoring.alerts.rules import alert_rules
from monitoring.freshness import Freshness
from services.gateway.door import Door


@dataclass(frozen=True)
class AlertsView:
    """The state of every rule, those that fire first, and how fresh the features are in words."""

    states: list[AlertState]
    fresh: Freshness
    said: str
    event_said: str  # how old the newest applied event is

    @property
    def firing(self) -> int:
        return sum(state.firing for state in self.states)


def alerts_view(door: Door) -> AlertsView:
    """All rules over the gateway's own metrics, as they are now."""
    states = evaluate(alert_rules(door.settings), samples_of(door.metrics.registry))
    fresh = door.watch.freshness()
    return AlertsView(sorted(states, key=lambda state: not state.firing), fresh, _standing(fresh), _event_age(fresh))


def samples_of(registry: CollectorRegistry) -> list[Sample]:
    """Every series of the registry with its value now."""
    return [Sample(one.name, one.labels, one.value) for metric in registry.collect() for one in metric.samples]


def _standing(fresh: Freshness) -> str:
    if fresh.last_save_age_s is None:
        return "The stream worker has not saved yet."
    if fresh.records_waiting is None:
        return "The broker was not seen yet, so it is not known whether events wait."
    if fresh.records_waiting == 0:
        return "Every event that the broker holds is applied."
    return f"{fresh.records_waiting:,} events wait, the oldest for {fresh.behind_s or 0:,.1f} s."


def _event_age(fresh: Freshness) -> str:
    if fresh.newest_event_age_s is None:
        return "no event yet"
    days = fresh.newest_event_age_s / 86_400
    age = f"{days:,.0f} days" if days >= 2 else f"{fresh.newest_event_age_s:,.0f} s"
    return f"{age} old: a replayed log, whose days lie back" if fresh.replayed else f"{age} old"
