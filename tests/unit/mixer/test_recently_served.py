"""What the platform says about an event's exposure is what it served, to that user, on that page."""

from __future__ import annotations

import numpy as np

from services.mixer.recently_served import RecentlyServed, Served


def test_a_shown_post_has_its_release_and_propensity():
    served = RecentlyServed("r1")
    served.add("q1", 7, np.array([10, 11]))
    assert served.of("q1", 7, 11) == Served("r1", 1.0)


def test_what_was_not_shown_to_that_user_in_that_request_has_none():
    served = RecentlyServed("r1")
    served.add("q1", 7, np.array([10, 11]))
    assert served.of("q1", 8, 10) is None
    assert served.of("q1", 7, 12) is None
    assert served.of("q2", 7, 10) is None
    assert served.of(None, 7, 10) is None


def test_only_the_newest_pages_are_kept():
    served = RecentlyServed("r1", most=2)
    for request in ("q1", "q2", "q1", "q3"):
        served.add(request, 7, np.array([10]))
    assert [served.of(request, 7, 10) is not None for request in ("q1", "q2", "q3")] == [True, False, True]
