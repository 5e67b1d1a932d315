"""Durations of repeated work, as a bench tells them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np


def durations_ms(works: list[Callable[[], object]]) -> np.ndarray:
    """Run each of `works` once, in order; milliseconds of each, float64 (n,)."""
    out = np.empty(len(works))
    for number, work in enumerate(works):
        began = time.perf_counter()
        work()
        out[number] = (time.perf_counter() - began) * 1e3
    return out


def percentiles(durations: np.ndarray) -> dict[str, float]:
    """`p50_ms` and `p99_ms` of durations (n,) in milliseconds."""
    return {f"p{part}_ms": round(float(np.percentile(durations, part)), 3) for part in (50, 99)}


@contextmanager
def settled_memory() -> Iterator[None]:
    """Within the block the collector does not walk what was there before, as in a mixer that has warmed up."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
