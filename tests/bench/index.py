"""The retrieval index: exact products and inverted lists for the same queries, in turn, on one thread.

Vectors are simulated: posts in clusters, of different lengths, with a bias in their last coordinate as the two-tower has it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from flows.steps.progress import announce
from services.ranking.retrieval_index import ApproximateIndex, ExactIndex, RetrievalIndex

WIDTH = 48  # without the bias
DEPTHS = (10, 100, 500)
PROBES = (16, 64, 128)  # lists looked at
WITHIN, ASKED = 0.6, 0.8  # spread of posts and of queries about their cluster's centre
WARM_UPS = 5


def bench_index(posts: Sequence[int] = (10_000, 100_000), queries: int = 200, seed: int = 7) -> dict:
    """Queries a second for the nearest DEPTHS[-1] posts and what share of the exact ones is found, by catalogue size.

    Keys: vectors ("simulated"), queries, depth, catalogues: posts -> index ("exact", "approximate, 64 lists") -> build_s,
    queries_per_s, against_exact (ratio of the rates) and recall_at_<depth>.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        catalogues = {str(count): _catalogue(count, queries, seed) for count in posts}
    finally:
        faiss.omp_set_num_threads(threads)
    return {"vectors": "simulated", "queries": queries, "depth": DEPTHS[-1], "catalogues": catalogues}


def _catalogue(posts: int, queries: int, seed: int) -> dict[str, dict[str, float]]:
    vectors, asked = clustered(posts, queries, seed)
    keys = np.arange(posts)
    indexes: dict[str, RetrievalIndex] = {}
    build_s: dict[str, float] = {}
    for name, probes in (("exact", None), *((f"approximate, {probes} lists", probes) for probes in PROBES)):
        announce(f"{posts:,} posts: building the index, {name}")
        start = time.perf_counter()
        indexes[name] = ExactIndex(keys, vectors) if probes is None else ApproximateIndex(keys, vectors, probes)
        build_s[name] = time.perf_counter() - start
    announce(f"{posts:,} posts: {queries} queries of each index")
    for index in indexes.values():
        for query in asked[:WARM_UPS]:
            index.search(query, DEPTHS[-1])
    laps: dict[str, list[float]] = {name: [] for name in indexes}
    shares: dict[str, list[list[float]]] = {name: [] for name in indexes}
    for query in asked:
        found = {}
        for name, index in indexes.items():
            start = time.perf_counter()
            found[name] = index.search(query, DEPTHS[-1])
            laps[name].append(time.perf_counter() - start)
        for name, keys_found in found.items():
            shares[name].append([float(np.isin(found["exact"][:k], keys_found[:k]).mean()) for k in DEPTHS])
    exact_s = median(laps["exact"])
    return {
        name: {
            "build_s": round(build_s[name], 3),
            "queries_per_s": round(1 / median(laps[name]), 1),
            "against_exact": round(exact_s / median(laps[name]), 2),
            **{f"recall_at_{k}": round(share, 4) for k, share in zip(DEPTHS, np.mean(shares[name], axis=0), strict=True)},
        }
        for name in indexes
    }


def clustered(posts: int, queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of posts, float32 (posts, WIDTH + 1), and of queries, whose last coordinate is 1."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(16, int(posts**0.5) // 2), WIDTH))
    bodies = centres[random.integers(len(centres), size=posts)] + WITHIN * random.normal(size=(posts, WIDTH))
    asked = centres[random.integers(len(centres), size=queries)] + ASKED * random.normal(size=(queries, WIDTH))
    bias = random.normal(size=(posts, 1))
    return np.hstack([bodies, bias]).astype(np.float32), np.hstack([asked, np.ones((queries, 1))]).astype(np.float32)
