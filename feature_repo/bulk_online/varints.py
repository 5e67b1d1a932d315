"""Protocol-buffer varints of whole columns: seven bits a byte, low bits first, the high bit of a byte: more follow."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.kernel import address, kernel

_LONGEST = 10  # bytes


def varints(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """The varints of int64 `values` (n,), back to back, and the length of each in bytes, int64 (n,).

    A negative value takes ten bytes, as its two's complement.
    """
    unsigned = np.ascontiguousarray(values, np.int64)
    encoded, lengths = np.empty(_LONGEST * len(unsigned), np.uint8), np.empty(len(unsigned), np.int64)
    size = kernel.varints(len(unsigned), address(unsigned), address(encoded), address(lengths))
    return encoded[:size].tobytes(), lengths
