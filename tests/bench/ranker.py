"""Candidates a second through the heavy ranker at published sizes, beside torch and beside this machine's matrix product.

Warm: the user's context is encoded and packed already. Cold: the request does that too. In both, every candidate's columns
that are of this user and this post go through the first layer; what is known of the posts alone was projected before, as once
a snapshot. `candidates_per_s_unprojected` is the warm request that projects its candidates' posts as well.

Ways take turns, so that all meet the machine's moods alike, and each is measured on the second of two requests in a row: a
server's request follows one of its own kind, not a matrix product of another library, which leaves caches, page tables and
processors as it needs them. What the first of the two takes is reported beside it, as `after_others`.
"""

from __future__ import annotations

import time
from copy import deepcopy
from statistics import median
from typing import Any

import numpy as np
import torch

from flows.steps.progress import announce
from services.ranking.heavy import HeavyConfig, HeavyRanker
from services.ranking.inputs import HistoryTensors, RowTensors
from services.ranking.members import built
from tests.bench.ranker_request import WIDTHS, RankerRequest, multiplications
from tests.bench.ranker_ways import Work, largest_error, other_ways

HISTORY = 128
CONFIG = HeavyConfig(WIDTHS, d=128, attention_heads=4, layers=2, ffn=256, history=HISTORY)
GEMM_SIZES = ((1_536, 128, 512), (1_536, 512, 512), (2_048, 2_048, 2_048))
WARM_UPS = 5
QUIET_WINDOW_S, LONGEST_WAIT_S = 0.001, 1.0
COMPILED = "compiled kernel"
RIVALS = ("bfloat16", "torch.compile", "int8", "onnxruntime")
MOST_ERROR = 1e-4  # relative to the largest logit of float32 eager: beyond, a way does not compute the same ranker


def bench_ranker(candidates: int = 1_500, rounds: int = 40, posts: int = 100_000, threads: int = 2, members: int = 2) -> dict:
    """Time requests of one user with a full history and `candidates` random posts; weights and features are random.

    Keys: candidates, candidates_per_s (warm), candidates_per_s_cold, candidates_per_s_unprojected, gemm_gflops (float32, the
    best of some shapes on as many threads), achieved_gflops (warm), gemm_share, warm_ms, warm_ms_slowest,
    multiplications_per_candidate, alone_differs (largest difference of a logit alone and among the others), torch_differs
    (from torch's logits, relative to the largest), posts_projected_per_s, instruction_level (see `kernel.best_level`), other
    (candidates a second in the other ways of RIVALS, None where this machine lacks one; `errors`: largest difference from
    float32 eager relative to its largest logit; `skipped`: why a way is None), best (the fastest way whose error is at most
    MOST_ERROR, COMPILED being ours doing the same work, which is `candidates_per_s_unprojected`), deployed (the same of a
    ranker in a training's own size, with `members` members), after_others (candidates_per_s and candidates_per_s_cold of the
    first request after another way's), and gpu where there is one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            return _measured(candidates, rounds, posts, threads, members)
    finally:
        torch.set_num_threads(before)


def _measured(candidates: int, rounds: int, posts: int, threads: int, members: int) -> dict:
    torch.manual_seed(1)
    model = HeavyRanker(CONFIG).eval()
    announce("projecting posts")
    request = RankerRequest(model, candidates, posts, threads)
    deployed = RankerRequest(built(HeavyConfig(WIDTHS), members).eval(), candidates, posts, threads)
    rows, compiled = request.rows, request.compiled.rankers[0]
    context = model.encode_context(rows.blocks["user"][:1], rows.history)
    packed = compiled.context(rows.blocks["user"][:1], rows.history)
    ways: dict[str, Work] = {"warm": request.warm, "cold": request.cold, "unprojected": lambda: compiled.score(rows, packed)}
    ways |= {"deployed warm": deployed.warm, "deployed cold": deployed.cold}
    ways |= {f"gemm {shape}": _gemm(*shape) for shape in GEMM_SIZES}
    others = other_ways(model, rows, context, threads)
    ways |= {**others.found, "eager cold": lambda: model(rows)}
    times, first = _interleaved(ways, rounds)
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
        "alone_differs": request.alone_differs(),
        "torch_differs": float(np.abs(request.warm() - expected).max() / np.abs(expected).max()),
        "posts": posts,
        "posts_projected_per_s": request.posts_projected_per_s,
        "threads": threads,
        "rounds": rounds,
        "instruction_level": compiled.level,
        "deployed": _deployed(deployed, candidates, seconds),
        "after_others": {
            "candidates_per_s": round(candidates / median(first["warm"])),
            "candidates_per_s_cold": round(candidates / median(first["cold"])),
        },
        **_beside(candidates, seconds, {**others.found, COMPILED: ways["unprojected"]}, others.skipped, expected),
        **_on_gpu(model, rows, rounds),
    }


def _deployed(request: RankerRequest, candidates: int, seconds: dict[str, float]) -> dict[str, Any]:
    """The report's `deployed`: the ranker as bundles have it."""
    config, members = request.compiled.config, len(request.compiled.rankers)
    return {
        "what": "the heavy ranker in the size and with the members that a training makes",
        "members": members,
        "d": config.d,
        "history": config.history,
        "candidates_per_s": round(candidates / seconds["deployed warm"]),
        "candidates_per_s_cold": round(candidates / seconds["deployed cold"]),
        "warm_ms": round(seconds["deployed warm"] * 1e3, 2),
        "cold_ms": round(seconds["deployed cold"] * 1e3, 2),
        "multiplications_per_candidate": members * multiplications(config),
        "alone_differs": request.alone_differs(),
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


def _gemm(m: int, k: int, n: int) -> Work:
    a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out)


def _interleaved(ways: dict[str, Work], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every round of every way, and those of the lap before each, which came after another way.

    A round goes through all ways. Each begins when the threads of the one before it have gone to sleep: tensor libraries' wait
    for their next product busily, some milliseconds long, on the processor that the next way would have.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    first: dict[str, list[float]] = {name: [] for name in ways}
    for name, work in ways.items():
        announce(f"warming up {name}")
        for _ in range(WARM_UPS):
            work()
    for number in range(rounds):
        announce(f"round {number + 1} of {rounds}")
        for name, work in ways.items():
            _wait_for_others()
            first[name].append(_seconds(work))
            times[name].append(_seconds(work))
    return times, first


def _seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _wait_for_others() -> None:
    """Returns when this process's other threads use next to no processor time, and at the latest after a second.

    This thread does not sleep meanwhile: a virtual machine's idle processors take long to come back. Linux may book what a
    thread on another processor uses only once a tick, so one that waits busily can be missed: what is timed is the second lap.
    """
    give_up = time.perf_counter() + LONGEST_WAIT_S
    while time.perf_counter() < give_up:
        window = time.perf_counter() + QUIET_WINDOW_S
        others = time.process_time() - time.thread_time()
        while time.perf_counter() < window:
            pass
        if time.process_time() - time.thread_time() - others < QUIET_WINDOW_S / 10:
            return


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
    laps, _ = _interleaved(ways, rounds)
    return {
        "gpu": {
            "device": torch.cuda.get_device_name(),
            **{f"candidates_per_s_{name}": round(len(rows) / median(times)) for name, times in laps.items()},
        }
    }
