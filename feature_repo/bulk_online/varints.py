"""Protocol-buffer varints of whole columns: seven bits a byte, low bits first, the high bit of a byte saying that more follow.

Eight bytes of a varint are worked on as one 64-bit word.
"""

from __future__ import annotations

import numpy as np

_AT_ONCE = 8_192  # values worked on at once: their words stay in the processor's cache
_WORD_BITS = np.uint64(56)  # of a value, in eight varint bytes
_WORD_MASK = np.uint64((1 << 56) - 1)
_MARKS = np.uint64(0x8080808080808080)
_FULL = np.uint64(0x7F7F7F7F7F7F7F7F)
_BYTE = np.uint64(8)


def varints(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """The varints of int64 `values` (n,), back to back, and the length of each in bytes, int64 (n,).

    A negative value takes ten bytes, as its two's complement.
    """
    unsigned = np.ascontiguousarray(values, np.int64).view(np.uint64)
    parts = [_encoded(unsigned[start : start + _AT_ONCE]) for start in range(0, len(unsigned), _AT_ONCE)]
    lengths = np.concatenate([length for _, length in parts]) if parts else np.zeros(0, np.uint8)
    return b"".join(encoded for encoded, _ in parts), lengths.astype(np.int64)


def _encoded(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """`varints` of uint64 values; the lengths are uint8 (n,)."""
    high = values >> _WORD_BITS
    if not high.any():
        word = _spread(values)
        more = _more_follow(word)
        return (word | more).view(np.uint8)[_held(more, np.uint64(1))].tobytes(), np.bitwise_count(more) + np.uint8(1)
    words = np.stack([_spread(values & _WORD_MASK), _spread(high)], axis=1)
    more = _more_follow(words)
    goes_on = high != 0
    more[goes_on, 0] = _MARKS
    starts = np.stack([np.ones(len(values), np.uint64), goes_on.astype(np.uint64)], axis=1)
    lengths = np.bitwise_count(more).sum(axis=1, dtype=np.uint8) + np.uint8(1)
    return (words | more).view(np.uint8).reshape(-1)[_held(more, starts).reshape(-1)].tobytes(), lengths


def _spread(values: np.ndarray) -> np.ndarray:
    """The 56 bits of each value with a zero above every seven of them: eight varint bytes without their marks, uint64 (n,)."""
    for low, high, shift in (
        (0x000000000FFFFFFF, 0x00FFFFFFF0000000, 4),
        (0x00003FFF00003FFF, 0x0FFFC0000FFFC000, 2),
        (0x007F007F007F007F, 0x3F803F803F803F80, 1),
    ):
        values = (values & np.uint64(low)) | ((values & np.uint64(high)) << np.uint64(shift))
    return values


def _more_follow(words: np.ndarray) -> np.ndarray:
    """The high bit of every byte of `words` above which another byte of its word is not zero."""
    above = ((words + _FULL) & _MARKS) >> _BYTE
    for shift in (8, 16, 32):
        above |= above >> np.uint64(shift)
    return above


def _held(more: np.ndarray, starts: np.ndarray | np.uint64) -> np.ndarray:
    """Which bytes belong to a varint, bool (bytes,): those after a marked one, and the first of a word where `starts` is 1."""
    return (((more << _BYTE) >> np.uint64(7)) | starts).view(bool)
