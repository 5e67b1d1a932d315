"""How far from the clock a live event's moment may lie. Files of logs have bounds of their own: see plausible_times.py.

An event is checked twice on its way: by intake against its own clock, and by the stream worker against the broker's. Intake
allows less, so that two clocks that differ by up to a minute refuse nothing later that was accepted before.
"""

from __future__ import annotations

from datetime import UTC, datetime

AHEAD_S = 300  # an event may be this much ahead of the broker's clock; beyond it, its sender's clock is wrong
INTAKE_AHEAD_S = 240  # and this much ahead of intake's
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)  # of any event; a clock that was never set says year 0001 or 1970
LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # of any moment that is asked about; sums of later ones leave the calendar
