"""Other ways to run the heavy ranker's candidate pass: torch as it is, compiled, narrowed or quantised, and ONNX Runtime.

All do the same work: the whole first layer of every candidate, then the layers under a context that is encoded already.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flows.steps.progress import announce
from services.ranking.heavy import EncodedContext, HeavyRanker
from services.ranking.inputs import RowTensors

Work = Callable[[], Any]

ONNX_OPSET = 20  # the first with GELU in its tanh form


@dataclass(frozen=True)
class Ways:
    """`found`: name -> the pass, which gives logits (n, heads); `skipped`: name -> why this machine can not take it."""

    found: dict[str, Work]
    skipped: dict[str, str]


class NotHere(RuntimeError):
    """This machine lacks what a way needs."""


def other_ways(model: HeavyRanker, rows: RowTensors, context: EncodedContext, threads: int) -> Ways:
    """Every way, ready to be timed; one that fails to be made or to run once is skipped by name, with its reason."""
    makers: dict[str, Callable[[], Work]] = {
        "eager": lambda: lambda: model.score(rows, context),
        "bfloat16": lambda: _bfloat16(model, rows, context),
        "torch.compile": lambda: _compiled(model, rows, context),
        "int8": lambda: _int8(model, rows, context),
        "onnxruntime": lambda: _onnxruntime(model, rows, context, threads),
    }
    found, skipped = {}, {}
    for name, make in makers.items():
        announce(f"making {name}")
        try:
            work = make()
            work()
        except Exception as error:  # whatever a compiler or a runtime lacks here: the report names it, the others are measured
            skipped[name] = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
        else:
            found[name] = work
    return Ways(found, skipped)


def largest_error(found: Any, expected: np.ndarray) -> float:
    """Largest difference of logits from `expected`, relative to the largest of those."""
    logits = found.float().numpy() if isinstance(found, Tensor) else np.asarray(found)
    return float(np.abs(logits - expected).max() / np.abs(expected).max())


def _bfloat16(model: HeavyRanker, rows: RowTensors, context: EncodedContext) -> Work:
    small = deepcopy(model).to(torch.bfloat16)
    narrow = replace(rows, blocks={name: block.to(torch.bfloat16) for name, block in rows.blocks.items()})
    kept = EncodedContext(
        *([one.to(torch.bfloat16) for one in many] for many in (context.keys, context.values, context.biases))
    )
    return lambda: small.score(narrow, kept)


def _compiled(model: HeavyRanker, rows: RowTensors, context: EncodedContext) -> Work:
    score = torch.compile(model.score)
    return lambda: score(rows, context)


def _int8(model: HeavyRanker, rows: RowTensors, context: EncodedContext) -> Work:
    """Weights in int8, activations quantised as they come; attention and embeddings stay float32."""
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to move into a package of its own
        small = quantize_dynamic(deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    return lambda: small.score(rows, context)


def _onnxruntime(model: HeavyRanker, rows: RowTensors, context: EncodedContext, threads: int) -> Work:
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise NotHere(f"{' and '.join(missing)} not installed; install the extra `dev`")
    import onnxruntime

    inputs = _inputs(rows, context)
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other exporter wants one package more
        torch.onnx.export(
            _Pass(model, rows, context).eval(),  # or the exporter would leave the ranker's dropout on
            tuple(inputs.values()),
            written,
            input_names=list(inputs),
            output_names=["logits"],
            opset_version=ONNX_OPSET,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Its threads may wait busily within a run, but not after it, while the next way is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(written.getvalue(), options, providers=["CPUExecutionProvider"])
    asked = {name: array.numpy() for name, array in inputs.items() if name in {one.name for one in session.get_inputs()}}
    return lambda: session.run(["logits"], asked)[0]


class _Pass(nn.Module):
    """`HeavyRanker.score` as a function of tensors alone, in the order of `_inputs`."""

    def __init__(self, model: HeavyRanker, rows: RowTensors, context: EncodedContext) -> None:
        super().__init__()
        self.model, self.rows, self.context = model, rows, context

    def forward(self, *inputs: Tensor) -> Tensor:
        post, author, topic, product, *rest = inputs
        blocks = dict(zip(self.rows.blocks, rest, strict=False))
        layers = len(self.context.keys)
        keys, values = rest[-2 * layers : -layers], rest[-layers:]
        rows = replace(self.rows, post=post, author=author, topic=topic, product=product, blocks=blocks)
        return self.model.score(rows, EncodedContext(list(keys), list(values), self.context.biases))


def _inputs(rows: RowTensors, context: EncodedContext) -> dict[str, Tensor]:
    """Every tensor that a request brings; a block that all candidates share is one row."""
    blocks = {f"block_{name}": block[:1] if block.stride(0) == 0 else block for name, block in rows.blocks.items()}
    keys = {f"key_{depth}": key for depth, key in enumerate(context.keys)}
    values = {f"value_{depth}": value for depth, value in enumerate(context.values)}
    return {"post": rows.post, "author": rows.author, "topic": rows.topic, "product": rows.product, **blocks, **keys, **values}
