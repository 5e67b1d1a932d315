"""The pages that may still be answered, read from and written to their table within a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import msgspec
from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update

from feature_repo.served_messages import ServedPage, unpacked
from monitoring.outcomes.page import Page, PageContent
from monitoring.outcomes.tables import DAYS, PAGES

MOST_PAGES = 500_000  # kept open; beyond it the oldest are closed, whatever may still follow
OPEN_US = 26 * 3_600_000_000  # by the clock of the wall: the longest attribution window, and what comes late
DAYS_US = 60 * 86_400_000_000  # for which engagement by day is kept, by the clock of the wall
ONE_REQUEST_US = 60_000_000  # between the pages that two releases make for one request
_CHUNK = 500  # values a statement: below SQLite's limit of bound variables
_CONTENT = ("posts", "answers", "seen", "predictions", "experiments")
_STORED = tuple(column.name for column in PAGES.columns if column.name not in ("id", "content"))

_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(PageContent)


def pages_of_users(connection: Connection, users: Iterable[int]) -> dict[int, list[Page]]:
    """The open pages of `users` in order of their moments; users without one are left out."""
    found: dict[int, list[Page]] = {}
    for some in _chunks(sorted(set(users))):
        rows = connection.execute(select(PAGES).where(PAGES.c.user_id.in_(some)).order_by(PAGES.c.at_us, PAGES.c.id))
        for row in rows.mappings():
            found.setdefault(row["user_id"], []).append(_page(row))
    return found


def ripe_pages(connection: Connection, at_us: int, logged_us: int, most: int) -> list[Page]:
    """Up to `most` pages of canaries whose labels are complete by now: older than `at_us`, and noted before `logged_us`."""
    ripe = ~PAGES.c.mature & (PAGES.c.at_us <= at_us) & (PAGES.c.logged_us <= logged_us) & PAGES.c.canary.is_not(None)
    return [_page(row) for row in connection.execute(select(PAGES).where(ripe).limit(most)).mappings()]


def save_pages(connection: Connection, pages: Sequence[Page]) -> None:
    """Insert pages that are new, and write those again that are not."""
    fresh = [_row(page) for page in pages if page.row is None]
    if fresh:
        connection.execute(insert(PAGES), fresh)
    known = [{**_row(page), "row": page.row} for page in pages if page.row is not None]
    if known:
        values = {name: bindparam(name) for name in (*_STORED, "content")}
        connection.execute(update(PAGES).where(PAGES.c.id == bindparam("row")).values(values), known)


def close_old_pages(connection: Connection, now_us: int) -> int:
    """Forget pages that nothing can answer any more, and engagement by day that is too old to compare with.

    Returns how many pages. The sums of canaries and experiments stay.
    """
    connection.execute(delete(DAYS).where(DAYS.c.logged_us < now_us - DAYS_US))
    closed = connection.execute(delete(PAGES).where(PAGES.c.logged_us < now_us - OPEN_US)).rowcount
    beyond = connection.execute(select(func.count()).select_from(PAGES)).scalar_one() - MOST_PAGES
    if beyond > 0:
        oldest = select(PAGES.c.id).order_by(PAGES.c.id).limit(beyond)
        closed += connection.execute(delete(PAGES).where(PAGES.c.id.in_(oldest))).rowcount
    return closed


def take_in(pages: dict[int, list[Page]], message: ServedPage) -> list[Page]:
    """Note a message at the pages of its user, `pages` by user; returns those that are new or changed.

    A page and another release's copy of it meet by user and request_id, whichever comes first. A request_id that is used
    again stands for its newest page; the older one is still found by user, post and time. A message that comes twice changes
    nothing. Raises ValueError for a message whose parts do not fit together.
    """
    own = pages.setdefault(message.user_id, [])
    page = next((one for one in reversed(own) if one.request_id == message.request_id), None)
    if any(_came_before(one, message) for one in own):
        return []
    predictions, changed = _predictions(message), []
    if page is not None and page.shown and not message.shadow and not _is_same_request(page, message):
        page.request_id = f"{page.request_id}\n{page.at_us}"[:160]
        changed.append(page)
        page = None
    if page is None:
        page = Page(message.request_id, message.user_id, at_us=message.served_at, logged_us=message.logged_at)
        own.append(page)
    # Of two releases' pages for one request the user got that of the one that stood in: its own was too late.
    if not message.shadow and not (page.shown and message.release == message.assigned):
        _show(page, message)
        own.sort(key=lambda one: one.at_us)
    if predictions:
        page.predictions[message.release] = {**predictions, **page.predictions.get(message.release, {})}
    return [*changed, page]


def _came_before(page: Page, message: ServedPage) -> bool:
    """Whether the page came with this very message, under its request_id or as one whose id was used again since."""
    came = (page.release, page.at_us, page.logged_us, page.assigned, page.canary, page.step)
    again = (message.release, message.served_at, message.logged_at, message.assigned, message.canary, message.step)
    same_request = f"{page.request_id}\n".startswith(f"{message.request_id}\n")
    return page.shown and not message.shadow and same_request and came == again


def _is_same_request(page: Page, message: ServedPage) -> bool:
    """Whether two releases made a page for one request, as where one did not answer in time."""
    one_choice = (page.assigned, page.canary, page.step) == (message.assigned, message.canary, message.step)
    return one_choice and page.release != message.release and abs(page.logged_us - message.logged_at) < ONE_REQUEST_US


def _show(page: Page, message: ServedPage) -> None:
    page.shown, page.at_us, page.logged_us = True, message.served_at, message.logged_at
    page.assigned, page.canary, page.step, page.release = message.assigned, message.canary, message.step, message.release
    page.posts = list(message.posts)
    page.answers, page.seen = [0] * len(page.posts), [0] * len(page.posts)
    page.author_share = len(set(message.authors)) / len(message.authors) if message.authors else None
    page.age_hours, page.experiments = message.age_hours, dict(message.experiments)


def _predictions(message: ServedPage) -> dict[int, dict[str, float]]:
    if not message.heads:
        return {}
    values = unpacked(message.predictions, len(message.posts), message.heads).tolist()
    return {post: dict(zip(message.heads, row, strict=True)) for post, row in zip(message.posts, values, strict=True)}


def _page(row: RowMapping) -> Page:
    content = _decoder.decode(row["content"])
    stored = {name: row[name] for name in _STORED}
    return Page(**stored, **{name: getattr(content, name) for name in _CONTENT}, row=row["id"])


def _row(page: Page) -> dict:
    values = asdict(page)
    content = PageContent(**{name: values[name] for name in _CONTENT})
    return {**{name: values[name] for name in _STORED}, "content": _encoder.encode(content)}


def _chunks(values: list[int]) -> Iterable[list[int]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
