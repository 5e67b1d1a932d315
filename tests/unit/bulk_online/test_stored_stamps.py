"""Event times as Feast's SQLite store keeps them: a UTC time taken for a local one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from feature_repo.bulk_online.sqlite_writer import stored_stamps

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_stamps_are_shifted_as_feast_shifts_them_through_summer_and_winter(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        stamps_us = np.random.default_rng(1).integers(10**15, 2 * 10**15, 500)  # 2001 to 2033
        naive = [(EPOCH + timedelta(microseconds=int(stamp))).replace(tzinfo=None) for stamp in stamps_us]
        assert stored_stamps(stamps_us) == [int(moment.timestamp()) for moment in naive]
    finally:
        monkeypatch.undo()
        time.tzset()
