"""Surfaces (where a client shows a timeline) by their owner's names, and media kinds by small codes.

A surface's code is a pure function of its name: nothing has to be stored for it, and it never changes. Which surfaces a model
tells apart is learned with the model.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from feature_repo.contracts import HISTORY_BEFORE

# The surface of requests and events, and of rows of files, that name none: one for all, so that a model of the files knows it.
DEFAULT_SURFACE = "for_you"
MEDIA_CODES = 32
KNOWN_MEDIA = ("video", "image", "text", "link", "audio", "poll", "live", "ad", "other")

_POSITIVE_INT32 = 0x7FFFFFFF


def check_surface(name: str, field: str = "surface") -> None:
    """Raise ValueError where `name`, given in `field`, is no surface's: the platform keeps it for something else."""
    if name == HISTORY_BEFORE:
        raise ValueError(
            f"{field} {name!r} is the platform's own name for undated events from before the log; name the surface otherwise"
        )


@lru_cache(maxsize=4096)
def surface_code(name: str) -> int:
    """Code of a surface, 0 <= code < 2^31. Two of a hundred surfaces share a code with a chance of 1 in 400,000."""
    return zlib.crc32(name.encode()) & _POSITIVE_INT32


def surface_codes(names: Sequence[str]) -> np.ndarray:
    """Codes of many surfaces, int32 (n,)."""
    return np.array([surface_code(name) for name in names], np.int32)


@lru_cache(maxsize=4096)
def media_code(kind: str) -> int:
    """Code of a media kind in [0, 32): fixed for the known ones, a stable hash for others."""
    if kind in KNOWN_MEDIA:
        return KNOWN_MEDIA.index(kind)
    return len(KNOWN_MEDIA) + zlib.crc32(kind.encode()) % (MEDIA_CODES - len(KNOWN_MEDIA))
