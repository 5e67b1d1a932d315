"""The users whose rows are built are drawn alike in every flow, and those who judge a challenger are drawn by another hash."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE
from flows.steps.drawn_rows import draw_of, exposed_users, judging, share_for, with_judges
from tests.small_events import FIRST_DAY, small_lake

USERS = np.arange(20_000)
LATER = np.full(20_000, 100)


def test_every_dated_exposure_of_the_days_counts_its_user(tmp_path):
    lake = small_lake(tmp_path / "lake")
    days = [FIRST_DAY + timedelta(days=number) for number in range(2)]
    events = lake.events(days).filter((pl.col("action") == "impression") & (pl.col("product") != HISTORY_BEFORE))
    found = exposed_users([lake], [*days, FIRST_DAY + timedelta(days=900)])
    assert np.array_equal(np.sort(found), np.sort(events["user_id"].to_numpy()))
    assert len(exposed_users([lake], [])) == 0


def test_as_many_users_are_drawn_as_have_about_so_many_exposures():
    exposures = np.repeat(USERS, 5)
    share = share_for(exposures, 25_000, seed=7)
    assert abs(share - 0.25) < 0.001
    assert abs(draw_of(share, 7).keep(exposures, exposures).mean() - 0.25) < 0.02
    assert draw_of(share_for(exposures, 100_000, seed=7), 7) is None


def test_judges_are_added_from_their_moment_on_only():
    draw = draw_of(0.1, 7)
    judged = with_judges(draw, 0.15, 100, 7)
    assert np.array_equal(judged.keep(USERS, LATER - 1), draw.keep(USERS, LATER))
    assert abs(judged.keep(USERS, LATER).mean() - (1 - 0.9 * 0.85)) < 0.02
    added = judged.keep(USERS, LATER) & ~draw.keep(USERS, LATER)
    assert np.array_equal(added | draw.keep(USERS, LATER), judging(USERS, 0.15, 7) | draw.keep(USERS, LATER))
    assert with_judges(None, 0.15, 100, 7) is None
    assert judged.name != draw.name
