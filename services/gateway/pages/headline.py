"""One sentence of health for the top of the control room. It agrees with everything below it: the worst thing is said first."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.alerts.rule import AlertState, Severity
from services.gateway.pages.loop import ASKING
from services.releases.approvals import Approval
from services.releases.route import Route

Headline = tuple[str, str]  # a tone (calm, quiet, attention, alarm) and a sentence

ALARMING_SHARE = 0.05  # of requests that failed


def headline(
    route: Route,
    *,
    any_entry: bool,
    failover: str | None,
    looping: Sequence[str],
    firing: Sequence[AlertState],
    pending: Sequence[Approval],
    ledger_broken: bool,
    failed: tuple[int, int],
    drift: str | None,
    drift_answered: str | None,
) -> Headline:
    """The worst first.

    failover: the release that answers in the place of the live one; looping: processes that die again and again; failed:
    requests of the last two minutes that failed, and all of them; drift: the newest verdict of the drift check, unless what it
    asked for was done since: then it is drift_answered.
    """
    urgent = [state for state in firing if state.rule.severity is Severity.PAGE]
    if route.live is None:
        return ("alarm", "Nothing is live") if any_entry else ("quiet", "Nothing was released yet")
    if failover is not None:
        return "alarm", f"{route.live} does not answer; {failover} stands in for it"
    if looping:
        return "alarm", f"{looping[0]} dies again and again"
    if urgent:
        return "alarm", _sentence(urgent[0].rule.words)
    if ledger_broken:
        return "alarm", "The ledger's chain is broken"
    failing = f"{failed[0]:,} of {failed[1]:,} requests failed in the last two minutes"
    if failed[0] > ALARMING_SHARE * failed[1]:
        return "alarm", failing
    if pending:
        return "attention", f"{pending[0].release_id} waits for your answer"
    if route.canary is not None:
        return "attention", f"A canary is under way: {route.canary_percent:g} % of users"
    if drift in ASKING:
        return "attention", f"The drift check asks for a {ASKING[drift]}"
    if firing:
        return "attention", _sentence(firing[0].rule.words)
    if failed[0]:
        return "attention", failing
    if drift == "warn":
        return "attention", "The drift check warns: inputs or predictions moved, not far enough to act on"
    if drift_answered in ASKING:
        return "calm", f"All is calm: the {ASKING[drift_answered]} that the drift check asked for is done"
    return "calm", "All is calm"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
