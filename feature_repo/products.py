"""Stable small codes for product names and media kinds; models embed them, so a code never changes."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from feature_repo.contracts import HISTORY_BEFORE

PRODUCT_BUCKETS = 64
MEDIA_CODES = 32

# Known products have a bucket of their own; every other name is hashed into the rest.
KNOWN_PRODUCTS = (*(f"tab_{number}" for number in range(15)), "for_you", "following", HISTORY_BEFORE)
KNOWN_MEDIA = ("NORMAL", "AD", "UNKNOWN", "video", "image", "text", "link")


@lru_cache(maxsize=4096)
def product_bucket(product: str) -> int:
    """Bucket of a product name in [0, 64): fixed and collision-free for the known ones, a stable hash for others."""
    return _code(product, KNOWN_PRODUCTS, PRODUCT_BUCKETS)


@lru_cache(maxsize=4096)
def media_code(media: str) -> int:
    """Code of a media kind in [0, 32), by the same rule."""
    return _code(media, KNOWN_MEDIA, MEDIA_CODES)


def product_buckets(products: list[str]) -> np.ndarray:
    """Buckets of many names, int16 (n,)."""
    return np.array([product_bucket(product) for product in products], np.int16)


def _code(name: str, known: tuple[str, ...], size: int) -> int:
    if name in known:
        return known.index(name)
    return len(known) + zlib.crc32(name.encode()) % (size - len(known))
