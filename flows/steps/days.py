"""Local days as moments in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta


def day_start(day: date, offset: timedelta) -> datetime:
    """The first moment of local `day`; `offset` is local time minus UTC."""
    return datetime.combine(day, datetime.min.time(), UTC) - offset


def day_end(day: date, offset: timedelta) -> datetime:
    """The first moment after local `day`."""
    return day_start(day + timedelta(days=1), offset)


def microseconds(moment: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
