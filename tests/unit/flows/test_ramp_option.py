"""`mixer run release --ramp`: refused in one sentence, before anything is built."""

from __future__ import annotations

import pytest

from flows.cli.run import ramp_of


def test_a_ramp_is_read_as_it_is_written():
    assert ramp_of("1, 5,25.5,50") == [1.0, 5.0, 25.5, 50.0]


@pytest.mark.parametrize("text", ["", "a", "30,60", "5,1", "0,5", "5,5", "nan", "-1"])
def test_a_ramp_that_no_release_can_take_is_refused_by_its_text(text):
    with pytest.raises(ValueError, match=f"--ramp {text}: give rising percentages above 0 and up to 50"):
        ramp_of(text)
