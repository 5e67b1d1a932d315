"""Outcomes of a canary as they are stored: a number of alike users for each release, written straight into the sums."""

from __future__ import annotations

from sqlalchemy import insert

from infra.database import create_tables, open_engine, write_transaction
from monitoring.canary.time_bins import bin_of
from monitoring.outcomes.store import CHANGED, TAKEN
from monitoring.outcomes.tables import LOSSES, MARKS, NAMES, PAGE_SUMS, REQUEST_SUMS, TIMES

VISITS = 3  # of each user
POSTS = 10  # a visit


def add_outcomes(
    url: str,
    canary: str,
    live: str,
    step: int,
    users: dict[str, int],
    *,
    first: int = 0,
    harm: float = 0.0,
    taken_us: int = 2**62,
) -> None:
    """So many users of each release in one step. `harm`: the share by which the canary predicts worse, and engages less.

    first: id of the first user; ids are not used twice. taken_us: when outcomes were taken in last; far in the future.
    """
    engine = open_engine(url)
    create_tables(engine, *NAMES)
    met = [(release, first + 2 * place + (release == canary)) for release, count in users.items() for place in range(count)]
    key = {"canary": canary, "step": step}
    worse = {live: 0.0, canary: harm}
    with write_transaction(engine) as connection:
        if met:
            connection.execute(insert(PAGE_SUMS), [key | _pages(release, user, worse[release]) for release, user in met])
            connection.execute(insert(REQUEST_SUMS), [key | _requests(release, user) for release, user in met])
            connection.execute(insert(TIMES), [key | _times(release, user) for release, user in met])
            losses = [row for _, user in met for row in _losses(canary, user, harm)]
            connection.execute(insert(LOSSES), losses)
        connection.execute(MARKS.delete().where(MARKS.c.name == TAKEN))
        connection.execute(insert(MARKS).values(name=TAKEN, value=taken_us))
        name = CHANGED + canary
        known = connection.execute(MARKS.select().where(MARKS.c.name == name)).first()
        connection.execute(MARKS.delete().where(MARKS.c.name == name))
        connection.execute(insert(MARKS).values(name=name, value=1 if known is None else known.value + 1))


def _pages(release: str, user: int, harm: float) -> dict:
    engagement = (2.0 + user // 2 % 7) * (1 - harm)
    return {
        "assigned": release,
        "user_id": user,
        "pages": VISITS,
        "posts": VISITS * POSTS,
        "engagement": engagement,
        "disliked": float(user // 2 % 10 == 0),
        "author_share": VISITS * 0.9,
        "age_hours": VISITS * 5.0,
    }


def _requests(release: str, user: int) -> dict:
    counted = dict.fromkeys(("failed", "empty", "not_numbers", "short"), 0)
    return {"assigned": release, "user": str(user), "requests": VISITS, "pages": VISITS, **counted}


def _times(release: str, user: int) -> dict:
    return {"assigned": release, "user": str(user), "bin": int(bin_of(10.0 + user // 2 % 5)), "count": VISITS}


def _losses(canary: str, user: int, harm: float) -> list[dict]:
    rows = VISITS * POSTS
    return [
        {
            "canary": canary,
            "user_id": user,
            "head": head,
            "rows": rows,
            "positives": rows // 4,
            "live_loss": rows * (0.5 + 0.01 * (user // 2 % 7)),
            "canary_loss": rows * (0.5 + 0.01 * (user // 2 % 7)) * (1 + harm),
        }
        for head in ("click", "like")
    ]
