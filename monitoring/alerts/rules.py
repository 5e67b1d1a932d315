"""The platform's alert rules, their bounds from the settings; Prometheus's rules file and the runbook are made from them."""

from __future__ import annotations

import json

from infra.settings import Settings
from monitoring.alerts.rule import AlertRule, Severity

QUIET_S = 15 * 60.0  # a live log that brings no event for so long is broken somewhere before us
CELLS_WAITING = 5_000_000

_HEAD = """# Made from monitoring/alerts/rules.py with the default settings; a test holds the two in step.
# Write it anew with: python -m monitoring.alerts.rules > infra/prometheus/alerts.yaml
"""


def alert_rules(settings: Settings) -> tuple[AlertRule, ...]:
    """All rules, the most urgent first."""
    return (*_urgent(settings), *_for_today(settings))


def _urgent(settings: Settings) -> tuple[AlertRule, ...]:
    return (
        AlertRule(
            name="FeaturesNotFresh",
            metric="home_mixer_stream_behind_seconds",
            comparison=">",
            bound=settings.freshness_bound_s,
            for_s=30,
            severity=Severity.PAGE,
            words="events wait at the broker and are not applied: features grow stale",
            remedy=(
                "`mixer status` tells whether the stream worker runs, its log is `var/logs/stream-worker.log`; "
                "`mixer up` starts it again, and it reads on where it stopped"
            ),
        ),
        AlertRule(
            name="BrokerNotSeen",
            metric="home_mixer_stream_broker_seen",
            comparison="<",
            bound=1,
            for_s=60,
            severity=Severity.PAGE,
            words="the broker does not answer: events are refused, and freshness is not known",
            remedy="the local broker's log is `var/logs/broker.log`, `mixer up` starts it; another is at MIXER_BROKER_ADDRESS",
        ),
        AlertRule(
            name="ArmDoesNotAnswer",
            metric="mixer_gateway_arm_healthy",
            comparison="<",
            bound=1,
            for_s=30,
            severity=Severity.PAGE,
            words="a release that the route names does not answer its probe",
            remedy=(
                "the keeper starts it again; where it can't, read the release's log, such as `var/logs/mixer-r2.log`: "
                "`mixer run reconcile` starts what the ledger names, and `mixer release rollback` takes it out"
            ),
        ),
        AlertRule(
            name="StandbyAnswers",
            metric="mixer_gateway_failover",
            comparison=">",
            bound=0,
            for_s=10,
            severity=Severity.PAGE,
            words="the live release does not answer, and the one before it answers in its place",
            remedy="read the live release's log; it is started again by itself, if it stays away: `mixer release rollback`",
        ),
        AlertRule(
            name="ProcessDiesAgainAndAgain",
            metric="home_mixer_process_crash_looping",
            comparison=">",
            bound=0,
            for_s=0,
            severity=Severity.PAGE,
            words="a process of the platform dies again and again",
            remedy="`mixer status` names it, the control room shows the end of its log; it is tried again every half minute",
        ),
    )


def _for_today(settings: Settings) -> tuple[AlertRule, ...]:
    return (
        AlertRule(
            name="ServedFeaturesDiffer",
            metric="home_mixer_consistency_differing_share",
            comparison=">",
            bound=settings.consistency_bound,
            for_s=0,
            severity=Severity.TICKET,
            words="served features are not what the batch engine gives for the same events",
            remedy="open the consistency report: it names the family and the feature",
        ),
        AlertRule(
            name="NoEvents",
            metric="home_mixer_stream_newest_event_age_seconds",
            comparison=">",
            bound=QUIET_S,
            for_s=60,
            severity=Severity.TICKET,
            words="no event has come for a while, though the log is a live one",
            remedy="ask the clients' senders; events are accepted at POST /events",
            where={"log": "live"},
        ),
        AlertRule(
            name="OnlineRowsWait",
            metric="home_mixer_stream_cells_waiting",
            comparison=">",
            bound=CELLS_WAITING,
            for_s=600,
            severity=Severity.TICKET,
            words="the online store takes rows more slowly than the stream makes them",
            remedy="look at the store's machine and give it more room, or choose Redis (MIXER_ONLINE_STORE=redis)",
        ),
    )


def prometheus_rules(settings: Settings) -> str:
    """The content of Prometheus's rules file."""
    lines = [_HEAD + "groups:", "  - name: home-mixer", "    rules:"]
    for rule in alert_rules(settings):
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {json.dumps(rule.expression)}",
            f"        for: {rule.for_s}s",
            "        labels:",
            f"          severity: {rule.severity}",
            "        annotations:",
            f"          summary: {json.dumps(rule.words)}",
            f"          remedy: {json.dumps(rule.remedy)}",
            f"          runbook: {json.dumps(rule.runbook)}",
        ]
    return "\n".join(lines) + "\n"


def runbook(settings: Settings) -> str:
    """The entries of the runbook, as Markdown: of each rule what is wrong, and what to do."""
    return "\n\n".join(f"### {rule.name}\n\n{_sentence(rule.words)} {_sentence(rule.remedy)}" for rule in alert_rules(settings))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


if __name__ == "__main__":
    print(prometheus_rules(Settings.model_construct()), end="")
