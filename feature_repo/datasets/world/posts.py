"""The posts of the simulated world, as functions of (seed, post id): a post costs nothing until it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime

import numpy as np
from scipy.special import ndtri

from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.day_curve import DAY_US, time_of_day_us
from feature_repo.datasets.world.draws import Stream, uniforms
from feature_repo.datasets.world.people import people
from feature_repo.datasets.world.topics import compose

MEDIA = ("text", "photo", "video")
_MEDIA_SHARES = np.array([0.35, 0.30, 0.35])

DAYS_BEFORE_START = 3  # posts exist when the first visitor arrives
_AUTHOR_SHARE = 0.2  # of the accounts ever post
_AUTHOR_TAIL = 2.2  # exponent of the rank draw: the higher, the more the busiest authors write
_SECOND_TOPIC_SHARE = 0.3
SECOND_TOPIC_WEIGHT = 0.3
_REPLY_SHARE = 0.15
_REPLY_REACH = 200  # a reply answers one of this many posts before it
_QUALITY_SIGMA = 0.7


@dataclass(frozen=True)
class Posts:
    """Attributes of n posts, in the order asked for."""

    post_id: np.ndarray  # int64 (n,); ids grow with time
    author_id: np.ndarray  # int64 (n,)
    created_us: np.ndarray  # int64 (n,), UTC microseconds
    topic: np.ndarray  # int64 (n,), first topic
    second_topic: np.ndarray  # int64 (n,), -1 = none
    quality: np.ndarray  # float64 (n,), hidden from the platform
    media: np.ndarray  # int64 (n,), index into MEDIA
    duration_ms: np.ndarray  # int64 (n,), 0 unless a video
    in_reply_to: np.ndarray  # int64 (n,), -1 = none

    def __len__(self) -> int:
        return len(self.post_id)

    def where(self, mask: np.ndarray) -> Posts:
        """The posts at which `mask`, bool (n,), is true."""
        return Posts(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def author_count(config: WorldConfig) -> int:
    """How many accounts post; they are the user ids below it, the most productive first."""
    return max(10, int(config.users * _AUTHOR_SHARE))


def start_us(config: WorldConfig) -> int:
    """First moment of the world's first day, UTC microseconds."""
    return int(datetime(config.start.year, config.start.month, config.start.day, tzinfo=UTC).timestamp()) * 1_000_000


def posts(config: WorldConfig, post_ids: np.ndarray) -> Posts:
    """The posts with these ids."""
    ids = np.asarray(post_ids, np.int64)
    main = uniforms(config.seed, Stream.POST, ids)
    form = uniforms(config.seed, Stream.POST_FORM, ids)
    chain = uniforms(config.seed, Stream.POST_FORM, ids, 1)
    author = np.minimum(np.floor(author_count(config) * main[:, 0] ** _AUTHOR_TAIL), author_count(config) - 1).astype(np.int64)
    authors, place = np.unique(author, return_inverse=True)
    writers = people(config.seed, authors)
    likes = np.cumsum(writers.interests, axis=1)[place]
    topic = (likes < main[:, [1]]).sum(axis=1).clip(max=likes.shape[1] - 1)
    second = (likes < form[:, [3]]).sum(axis=1).clip(max=likes.shape[1] - 1)
    media = np.searchsorted(np.cumsum(_MEDIA_SHARES), form[:, 0]).clip(max=len(MEDIA) - 1)
    answered = ids - 1 - np.floor(chain[:, 1] * _REPLY_REACH).astype(np.int64)
    return Posts(
        post_id=ids,
        author_id=author,
        created_us=_created_us(config, ids, main[:, 2]),
        topic=topic,
        second_topic=np.where((form[:, 2] < _SECOND_TOPIC_SHARE) & (second != topic), second, -1),
        quality=0.6 * writers.craft[place] + _QUALITY_SIGMA * ndtri(main[:, 3]),
        media=media,
        duration_ms=np.where(media == MEDIA.index("video"), np.exp(10 + 0.7 * ndtri(form[:, 1])), 0).astype(np.int64),
        in_reply_to=np.where((chain[:, 0] < _REPLY_SHARE) & (answered >= 0), answered, -1),
    )


def _created_us(config: WorldConfig, ids: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Post i falls into the i-th equal share of the posts, so times grow with ids; the day curve places it in its day."""
    days = DAYS_BEFORE_START + config.days
    moment = (ids + draw) / config.posts * days
    day = np.minimum(np.floor(moment), days - 1).astype(np.int64)
    return start_us(config) + (day - DAYS_BEFORE_START) * DAY_US + time_of_day_us(moment - day)


def posts_between(config: WorldConfig, from_us: int, to_us: int) -> Posts:
    """Posts created from `from_us` up to `to_us`, in the order of ids; draws no others but those of the same days."""
    day = [(moment - start_us(config)) // DAY_US + DAYS_BEFORE_START for moment in (from_us, to_us)]
    a_day = config.posts / (DAYS_BEFORE_START + config.days)
    # A post more at both ends: the shares of the posts need not begin with a day.
    first, last = int(day[0] * a_day) - 1, int((day[1] + 1) * a_day) + 2
    some = posts(config, np.arange(max(first, 0), min(max(last, 0), config.posts)))
    return some.where((some.created_us >= from_us) & (some.created_us < to_us))


def with_later_days(config: WorldConfig, days: int) -> WorldConfig:
    """The same world over at least `days` days: its people, earlier posts and their times stay as they are.

    Post i sits at (i + draw) / posts * days of all days. Both numbers are doubled until they reach: powers of two are the
    factors that change no bit of that quotient.
    """
    factor = 1
    while (config.days + DAYS_BEFORE_START) * factor - DAYS_BEFORE_START < days:
        factor *= 2
    whole = (config.days + DAYS_BEFORE_START) * factor
    return replace(config, days=whole - DAYS_BEFORE_START, posts=config.posts * factor)


def texts(config: WorldConfig, chosen: Posts) -> list[str]:
    """What the posts say, in the words of their first topic."""
    return compose(chosen.topic, uniforms(config.seed, Stream.POST_TEXT, chosen.post_id))
