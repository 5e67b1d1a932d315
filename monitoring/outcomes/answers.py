"""Finds the page that an event answers, by the exposure rule of feature_repo/attribution.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feature_repo.attribution import Acted, Shown, answered
from feature_repo.contracts import Action
from feature_repo.heads import HEADS, OPENED
from monitoring.outcomes.page import Page

RELEVANT = (Action.IMPRESSION.value, *HEADS)


@dataclass(frozen=True)
class Event:
    """What a user did to a post, or that it came into view. `at_us`: by the client's clock."""

    user_id: int
    post_id: int
    action: str  # one of RELEVANT
    request_id: str  # "" = none
    at_us: int


def answer_pages(pages: Mapping[int, Sequence[Page]], events: Sequence[Event]) -> tuple[list[Page], int]:
    """Note each event at the page of its user that it answers; returns the pages that changed, and how many answered none.

    pages: by user, in order of their moments.
    """
    changed: dict[int, Page] = {}
    unmatched = 0
    for event in events:
        page = _page_of(pages.get(event.user_id, ()), event)
        if page is None:
            unmatched += 1
            continue
        head = None if event.action == Action.IMPRESSION.value else event.action
        if page.answer(page.posts.index(event.post_id), head):
            changed[id(page)] = page
    return list(changed.values()), unmatched


def _page_of(pages: Sequence[Page], event: Event) -> Page | None:
    holding = [page for page in pages if page.shown and event.post_id in page.posts]
    named = [page.at_us for page in holding if event.request_id and page.request_id == event.request_id]
    # An event that names its page came after it, whatever the client's clock says.
    at_us = max([event.at_us, *named])
    # An impression belongs to a page as an opening does: there is no rule of its own.
    action = OPENED[0] if event.action == Action.IMPRESSION.value else event.action
    exposures = [Shown(page.user_id, event.post_id, page.request_id, page.at_us, True) for page in holding]
    place = answered(Acted(event.user_id, event.post_id, event.request_id, action, at_us, True), exposures)
    return holding[place] if place >= 0 else None
