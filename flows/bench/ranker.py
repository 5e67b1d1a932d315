"""Candidates a second through the heavy ranker at published sizes, beside torch and beside this machine's matrix product.

Warm: the user's context is encoded and packed already. Cold: the request does that too. In both, every candidate's columns
that are of this user and this post go through the first layer; what is known of the posts alone was projected before, as once
a snapshot. `candidates_per_s_unprojected` is the warm request that projects its candidates' posts as well.
"""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from feature_repo.blocks import BLOCK_NAMES
from feature_repo.feature_rows import MODEL_BLOCKS
from flows.bench.ranker_ways import Work, largest_error, other_ways
from flows.progress import announce
from services.ranking.collaborative import POST_VECTOR, USER_VECTOR, VECTOR_MATCH, VIEWS
from services.ranking.collaborative import WIDTH as VECTOR_WIDTH
from services.ranking.compiled import MATCH_BLOCKS, POST_BLOCKS, REQUEST_BLOCKS, CompiledRanker
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import ACTION_MASKS, AGE_BUCKETS, DWELL_ROWS, OUTPUTS, HistoryTensors, RowTensors, TableBits

HISTORY = 128
VECTOR = len(VIEWS) * VECTOR_WIDTH
WIDTHS = {
    **{name: len(columns) for name, columns in BLOCK_NAMES.items()},
    **{USER_VECTOR: VECTOR, POST_VECTOR: VECTOR, VECTOR_MATCH: len(VIEWS)},
}
CONFIG = HeavyConfig(WIDTHS, d=128, attention_heads=4, layers=2, ffn=256, history=HISTORY)
GEMM_SIZES = ((1_536, 128, 512), (1_536, 512, 512), (2_048, 2_048, 2_048))
WARM_UPS = 5
ALONE = 20  # candidates that are scored by themselves too
COMPILED = "compiled kernel"
RIVALS = ("bfloat16", "torch.compile", "int8", "onnxruntime")
MOST_ERROR = 1e-4  # relative to the largest logit of float32 eager: beyond, a way does not compute the same ranker


def bench_ranker(candidates: int = 1_500, rounds: int = 40, posts: int = 100_000, threads: int = 2) -> dict:
    """Time requests of one user with a full history and `candidates` random posts; weights and features are random.

    Keys: candidates, candidates_per_s (warm), candidates_per_s_cold, candidates_per_s_unprojected, gemm_gflops (float32, the
    best of some shapes on as many threads), achieved_gflops (warm), gemm_share, warm_ms, warm_ms_slowest,
    multiplications_per_candidate, alone_differs (largest difference of a logit alone and among the others), torch_differs
    (from torch's logits, relative to the largest), posts_projected_per_s, instruction_level (see `kernel.best_level`), other
    (candidates a second in the other ways of RIVALS, None where this machine lacks one; `errors`: largest difference from
    float32 eager relative to its largest logit; `skipped`: why a way is None), best (the fastest way whose error is at most
    MOST_ERROR, COMPILED being ours doing the same work, which is `candidates_per_s_unprojected`), and gpu where there is one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            return _measured(candidates, rounds, posts, threads)
    finally:
        torch.set_num_threads(before)


def _measured(candidates: int, rounds: int, posts: int, threads: int) -> dict:
    torch.manual_seed(1)
    model = HeavyRanker(CONFIG).eval()
    compiled = CompiledRanker(model, threads=threads)
    catalogue = _rows(posts)
    row = np.random.default_rng(1).integers(0, posts, candidates)
    rows = _taken(catalogue, torch.from_numpy(row))
    context = model.encode_context(rows.blocks["user"][:1], rows.history)
    request = compiled.request(context, rows.blocks, rows.product)
    announce("projecting posts")
    start = time.perf_counter()
    projected = compiled.project({name: catalogue.blocks[name] for name in POST_BLOCKS}, *_ids(catalogue))
    projection_s = time.perf_counter() - start

    def warm() -> np.ndarray:
        return compiled.logits(request, projected, compiled.matches(rows.blocks), row)

    def cold() -> np.ndarray:
        encoded = model.encode_context(rows.blocks["user"][:1], rows.history)
        packed = compiled.request(encoded, rows.blocks, rows.product)
        return compiled.logits(packed, projected, compiled.matches(rows.blocks), row)

    ways: dict[str, Work] = {"warm": warm, "cold": cold, "unprojected": lambda: compiled.score(rows, context)}
    ways |= {f"gemm {shape}": _gemm(*shape) for shape in GEMM_SIZES}
    others = other_ways(model, rows, context, threads)
    ways |= {**others.found, "eager cold": lambda: model(rows)}
    times = _interleaved(ways, rounds)
    seconds = {name: median(laps) for name, laps in times.items()}
    gemm = max(2 * m * k * n / seconds[f"gemm {(m, k, n)}"] for m, k, n in GEMM_SIZES) / 1e9
    achieved = 2 * multiplications(CONFIG) * candidates / seconds["warm"] / 1e9
    expected = model.score(rows, context).numpy()
    return {
        "candidates": candidates,
        "candidates_per_s": round(candidates / seconds["warm"]),
        "candidates_per_s_cold": round(candidates / seconds["cold"]),
        "candidates_per_s_unprojected": round(candidates / seconds["unprojected"]),
        "gemm_gflops": round(gemm, 1),
        "achieved_gflops": round(achieved, 1),
        "gemm_share": round(achieved / gemm, 3),
        "warm_ms": round(seconds["warm"] * 1e3, 2),
        "warm_ms_slowest": round(max(times["warm"]) * 1e3, 2),
        "multiplications_per_candidate": multiplications(CONFIG),
        "alone_differs": _alone_differs(compiled, request, projected, rows, row),
        "torch_differs": float(np.abs(warm() - expected).max() / np.abs(expected).max()),
        "posts": posts,
        "posts_projected_per_s": round(posts / projection_s),
        "threads": threads,
        "rounds": rounds,
        "instruction_level": compiled.level,
        **_beside(candidates, seconds, {**others.found, COMPILED: ways["unprojected"]}, others.skipped, expected),
        **_on_gpu(model, rows, rounds),
    }


def _beside(
    candidates: int, seconds: dict[str, float], works: dict[str, Work], skipped: dict[str, str], expected: np.ndarray
) -> dict[str, Any]:
    """The report's `best` and `other`, from the seconds and the works of all ways that could be run."""
    errors = {name: largest_error(work(), expected) for name, work in works.items()}
    took = {**seconds, COMPILED: seconds["unprojected"]}
    rates = {name: round(candidates / took[name]) if name in took else None for name in ("eager", "eager cold", *RIVALS)}
    return {
        "best": min((name for name in works if errors[name] <= MOST_ERROR), key=took.__getitem__),
        "other": {
            "what": "the same ranker and the same work in other ways, warm but for `eager cold`: candidates a second",
            **rates,
            "errors": errors,
            "skipped": skipped,
        },
    }


def multiplications(config: HeavyConfig, history: int = HISTORY) -> int:
    """Multiply-adds of the matrix products that one candidate of a warm request needs; padding is not counted."""
    d, tokens = config.d, history + 1
    layer = 4 * d * d + 2 * d * config.ffn + 2 * d * (tokens + 1)
    matched = sum(config.widths[name] for name in MATCH_BLOCKS)
    ends = matched * config.hidden + config.hidden * d + (d + config.hidden) * config.ffn + config.ffn * OUTPUTS
    return config.layers * layer + ends


def _rows(count: int) -> RowTensors:
    """Normalised random rows under one full history."""
    bits = TableBits()
    blocks = {name: torch.randn(count, WIDTHS[name]).clamp(-5, 5) for name in MODEL_BLOCKS}
    for name in REQUEST_BLOCKS:
        blocks[name] = blocks[name][:1].expand(count, -1)
    history = HistoryTensors(
        post=_integers(1 << bits.post, 1, HISTORY),
        author=_integers(1 << bits.author, 1, HISTORY),
        topic=_integers(1 << bits.topic, 1, HISTORY),
        actions=_integers(ACTION_MASKS, 1, HISTORY).to(torch.uint8),
        product=_integers(15, 1, HISTORY),
        age=_integers(AGE_BUCKETS, 1, HISTORY),
        gap=_integers(AGE_BUCKETS, 1, HISTORY),
        dwell=_integers(DWELL_ROWS, 1, HISTORY),
    )
    ids = (_integers(1 << size, count) for size in (bits.post, bits.author, bits.topic))
    return RowTensors(*ids, product=torch.ones(count, dtype=torch.int32), blocks=blocks, history=history)


def _integers(below: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, below, shape, dtype=torch.int32)


def _ids(rows: RowTensors) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return rows.post, rows.author, rows.topic


def _taken(rows: RowTensors, index: torch.Tensor) -> RowTensors:
    blocks = {
        name: block[:1].expand(len(index), -1) if name in REQUEST_BLOCKS else block[index]
        for name, block in rows.blocks.items()
    }
    ids = {name: getattr(rows, name)[index] for name in ("post", "author", "topic", "product")}
    return replace(rows, blocks=blocks, **ids)


def _gemm(m: int, k: int, n: int) -> Work:
    a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out)


def _interleaved(ways: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round of every way; a round goes through all of them, so that all meet the machine's moods alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name, work in ways.items():
        announce(f"warming up {name}")
        for _ in range(WARM_UPS):
            work()
    for number in range(rounds):
        announce(f"round {number + 1} of {rounds}")
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return times


def _alone_differs(compiled: CompiledRanker, request: Any, projected: Any, rows: RowTensors, row: np.ndarray) -> float:
    """Largest difference between a candidate's logits alone and among all others, over some candidates."""
    matches = compiled.matches(rows.blocks)
    among = compiled.logits(request, projected, matches, row)
    chosen = np.linspace(0, len(row) - 1, min(ALONE, len(row))).astype(int)
    alone = [compiled.logits(request, projected, matches[at : at + 1], row[at : at + 1])[0] for at in chosen]
    return float(np.abs(np.stack(alone) - among[chosen]).max())


def _on_gpu(model: HeavyRanker, rows: RowTensors, rounds: int) -> dict[str, Any]:
    """{"gpu": warm and cold candidates a second of torch on the graphics processor}, or nothing without one."""
    if not torch.cuda.is_available():
        return {}
    there = deepcopy(model).cuda()
    history = HistoryTensors(*(getattr(rows.history, name).cuda() for name in HistoryTensors.__dataclass_fields__))
    moved = RowTensors(
        **{name: getattr(rows, name).cuda() for name in ("post", "author", "topic", "product")},
        blocks={name: block.cuda() for name, block in rows.blocks.items()},
        history=history,
    )
    context = there.encode_context(moved.blocks["user"][:1], moved.history)

    def finished(work: Work) -> Work:
        def run() -> None:
            work()
            torch.cuda.synchronize()

        return run

    ways = {"warm": finished(lambda: there.score(moved, context)), "cold": finished(lambda: there(moved))}
    laps = _interleaved(ways, rounds)
    return {
        "gpu": {
            "device": torch.cuda.get_device_name(),
            **{f"candidates_per_s_{name}": round(len(rows) / median(times)) for name, times in laps.items()},
        }
    }
