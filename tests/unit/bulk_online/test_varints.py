"""Column-wise varints against the definition, a number at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.bulk_online.varints import varints

INT64 = st.integers(-(2**63), 2**63 - 1)


def varint(number: int) -> bytes:
    left, out = number % 2**64, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


@given(st.lists(INT64 | st.integers(-2, 300), max_size=60))
def test_every_int64_is_written_as_the_definition_says(numbers):
    encoded, lengths = varints(np.array(numbers, np.int64))
    expected = [varint(number) for number in numbers]
    assert encoded == b"".join(expected)
    assert lengths.tolist() == [len(one) for one in expected]


def test_the_borders_between_lengths_are_right_in_a_column_of_many_blocks():
    borders = [sign * 2**power + step for power in range(63) for step in (-1, 0, 1) for sign in (1, -1)] * 60
    encoded, lengths = varints(np.array(borders, np.int64))
    assert encoded == b"".join(map(varint, borders))
    assert lengths.sum() == len(encoded)
