"""The heavy ranker on the compiled kernel: the same logits as `HeavyRanker`, several times as fast.

What is known of a post alone (its part of the first layer, its embeddings) is computed once and looked up by row; a request
adds what its user and moment give to all candidates, and the few columns that are of this user and this candidate.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from services.ranking import kernel
from services.ranking.heavy import HeavyRanker
from services.ranking.inputs import AGE_PADDING, HistoryTensors, RowTensors, action_flags

POST_BLOCKS = ("post", "author", "topic", "post_vector")
REQUEST_BLOCKS = ("user", "context", "user_vector")
MATCH_BLOCKS = ("user_author", "user_topic", "user_post", "vector_match")
_ACTIONS = 3  # place of the actions' table among the kernel's


class NotCompilable(ValueError):
    """The ranker has sizes that the kernel does not take."""


@dataclass(frozen=True)
class Projected:
    """Rows that candidates look up: first layer over POST_BLOCKS (n, hidden), and embeddings (n, d); float32."""

    hidden: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.hidden)

    def after_first(self) -> Projected:
        return Projected(self.hidden[1:], self.items[1:])

    def joined(self, *more: Projected) -> Projected:
        """These rows and those of `more` behind them."""
        if not more:
            return self
        return Projected(*(np.concatenate([getattr(one, name) for one in (self, *more)]) for name in ("hidden", "items")))


@dataclass(frozen=True)
class PackedContext:
    """A user's keys, values and biases by layer, as the kernel reads them."""

    context: kernel.Context
    kept: np.ndarray  # the memory that `context` points into


@dataclass(frozen=True)
class Request:
    """What all candidates of a request share: the context, and the sums of what does not differ."""

    packed: PackedContext
    hidden: np.ndarray  # float32 (hidden,)
    item: np.ndarray  # float32 (d,)


class CompiledRanker:
    """A packed copy of a heavy ranker's weights, beside its embedding tables, which stay where they are.

    Later changes of the model are not seen, or seen in part; safe to share between threads.
    """

    def __init__(self, model: HeavyRanker, *, threads: int = 1, level: int | None = None) -> None:
        """`level` as in `kernel.best_level`, the processor's own by default. Raises NotCompilable, KernelMissing."""
        _check(model)
        self.model, self.threads = model, threads
        self.level = kernel.best_level() if level is None else min(level, kernel.best_level())
        self._kept: list[np.ndarray] = []
        widths = model.config.widths
        self.match_names = tuple(name for name in MATCH_BLOCKS if widths.get(name, 0) > 0)
        self.matched = kernel.padded(sum(widths[name] for name in self.match_names))
        self._ranker = self._pack(model)
        self._tables = self._look_up(model)
        self._user = _affine(model.user_token)
        projections = model.block_sum.projections
        self._shared = {name: _plain(projections[name].weight).T for name in REQUEST_BLOCKS if name in projections}
        self._bias, self._product = _plain(model.block_sum.bias), _plain(model.product.weight)
        self._actions = _plain(model.actions.weight).T

    # ---- once per version of the posts ----------------------------------------------------------------------------
    def project(self, blocks: Mapping[str, Tensor], post: Tensor, author: Tensor, topic: Tensor) -> Projected:
        """What candidates look up of n posts: normalised POST_BLOCKS (n, width), embedding rows (n,)."""
        config = self.model.config
        found = Projected(_looked_up(len(post), config.hidden), _looked_up(len(post), config.d))
        with torch.inference_mode():
            hidden = torch.from_numpy(found.hidden).zero_()
            for part in self._projections(POST_BLOCKS, blocks):
                hidden.add_(part)
            torch.from_numpy(found.items).copy_(self.model.item(post, author, topic))
        return found

    # ---- once per request -----------------------------------------------------------------------------------------
    def context(self, user: Tensor, history: HistoryTensors) -> PackedContext:
        """The user's normalised block (1, width) and one history through the layers. Raises IndexError on rows of no table."""
        if len(history) != 1:
            raise ValueError(f"a request has one history, not {len(history)}")
        weight, bias = self._user
        token = _through(weight, user) + bias
        names = ("post", "author", "topic", "actions", "product", "gap", "dwell", "age")
        columns = {name: getattr(history, name).numpy() for name in names}
        tables, columns["actions"], kept = self._with_actions(columns["actions"])
        rows = np.concatenate(list(columns.values())).astype(np.int32, copy=False)
        length = rows.shape[1]
        asked = kernel.History(length, AGE_PADDING, rows.ctypes.data, rows[-1].ctypes.data, token.ctypes.data)
        packed = self._room(length + 1)
        kernel.encode(self._ranker, tables, asked, packed.context, self.level)
        del kept  # the kernel has read it
        return packed

    def request(self, context: PackedContext, blocks: Mapping[str, Tensor], product: Tensor) -> Request:
        """A context with its normalised REQUEST_BLOCKS, of which the first row is read, and its product row."""
        hidden = self._bias + sum(_through(weight, blocks[name]) for name, weight in self._shared.items())
        item = self._product[int(product.reshape(-1)[0])]
        return Request(context, kernel.aligned(hidden), kernel.aligned(item))

    # ---- candidates -----------------------------------------------------------------------------------------------
    def matches(self, blocks: Mapping[str, Tensor]) -> np.ndarray:
        """Normalised MATCH_BLOCKS side by side as the kernel reads them, float32 (n, self.matched)."""
        count = len(next(iter(blocks.values())))
        out = np.zeros((count, self.matched), np.float32)
        at = 0
        for name in self.match_names:
            block = blocks[name].numpy()
            out[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        return out

    def logits(self, request: Request, posts: Projected, matches: np.ndarray, row: np.ndarray | None = None) -> np.ndarray:
        """float32 (n, heads) for n candidates with `matches` (n, self.matched); candidate i is row `row[i]` of `posts`.

        Without `row` it is row i. A candidate's logits are the same, bit for bit, whatever else is asked with it.
        """
        count = len(matches)
        if row is None and len(posts) != count:
            raise ValueError(f"{count} candidates for {len(posts)} posts: say with `row` which post each candidate is")
        if row is not None:
            row = np.ascontiguousarray(row, np.int32)
            if len(row) != count or (count and (row.min() < 0 or row.max() >= len(posts))):
                raise ValueError(f"`row` must give each of {count} candidates one of {len(posts)} posts")
        out = np.empty((count, self._ranker.outputs), np.float32)
        if count == 0:
            return out
        matches = np.ascontiguousarray(matches, np.float32)
        asked = kernel.Candidates(
            count,
            None if row is None else row.ctypes.data,
            *(array.ctypes.data for array in (posts.hidden, posts.items, request.hidden, request.item, matches, out)),
        )
        kernel.rank(self._ranker, request.packed.context, asked, self.threads, self.level)
        return out

    def score(self, rows: RowTensors, context: PackedContext) -> np.ndarray:
        """Logits (n, heads) of one request's rows, with all of their first layer but MATCH_BLOCKS computed here and now."""
        with torch.inference_mode():
            nothing = torch.zeros(1, self.model.config.hidden)
            summed = sum(self._projections((*POST_BLOCKS, *REQUEST_BLOCKS), rows.blocks), nothing)
            items = self.model.item(rows.post, rows.author, rows.topic) + self.model.product(rows.product)
            posts = Projected(np.ascontiguousarray(summed.expand(len(rows), -1).numpy()), items.numpy())
            bias = kernel.aligned(self.model.block_sum.bias.numpy())
        no_item = kernel.aligned(np.zeros(self.model.config.d))
        return self.logits(Request(context, bias, no_item), posts, self.matches(rows.blocks))

    # ---- packing --------------------------------------------------------------------------------------------------
    def _projections(self, names: tuple[str, ...], blocks: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """The first layer over each of the named blocks that it reads: (n, hidden), or (1, hidden) where rows share one."""
        for name in names:
            if name in self.model.block_sum.names:
                block = blocks[name]
                shared = len(block) > 1 and block.stride(0) == 0
                yield self.model.block_sum.projections[name](block[:1] if shared else block)

    def _room(self, tokens: int) -> PackedContext:
        """Where a context of so many tokens is to be written."""
        config = self.model.config
        padded = kernel.padded(tokens, kernel.PACK)
        sizes = {"keys": config.d * padded, "values": config.d * tokens, "bias": config.attention_heads * tokens}
        memory = kernel.room(config.layers * sum(sizes.values()))
        context = kernel.Context(tokens)
        address = memory.ctypes.data
        for name, size in sizes.items():
            place = getattr(context, name)
            for depth in range(config.layers):
                place[depth] = address
                address += size * memory.itemsize
        return PackedContext(context, memory)

    def _look_up(self, model: HeavyRanker) -> kernel.Tables:
        """The tables that an exposure's token is the sum of."""
        weights = (model.post, model.author, model.topic, None, model.product, model.gap, model.dwell)
        nothing = torch.zeros(1, model.config.d)  # stands where `_with_actions` puts a request's own table
        tables = [_plain(nothing if table is None else table.weight) for table in weights]
        biases = [_plain(layer.age_bias) for layer in model.layers]
        self._kept += [*tables, *biases]
        packed = kernel.Tables((ctypes.c_int32 * kernel.TABLES)(*(len(table) for table in tables)), len(biases[0]))
        for place, arrays in ((packed.table, tables), (packed.age_bias, biases)):
            for number, array in enumerate(arrays):
                place[number] = array.ctypes.data
        return packed

    def _with_actions(self, masks: np.ndarray) -> tuple[kernel.Tables, np.ndarray, np.ndarray]:
        """The tables, one of them for the masks of actions (1, length) of this request; its rows of them; and its memory."""
        own, row = np.unique(masks, return_inverse=True)
        table = np.ascontiguousarray(action_flags(torch.from_numpy(own)).numpy() @ self._actions)
        tables = kernel.Tables.from_buffer_copy(self._tables)
        tables.rows[_ACTIONS], tables.table[_ACTIONS] = len(own), table.ctypes.data
        return tables, row.reshape(masks.shape), table

    def _pack(self, model: HeavyRanker) -> kernel.Ranker:
        config = model.config
        match = np.zeros((self.matched, config.hidden), np.float32)
        at = 0
        for name in self.match_names:
            weight = model.block_sum.projections[name].weight.detach().numpy().T
            match[at : at + len(weight)] = weight
            at += len(weight)
        narrow, tower, last = (_affine(one) for one in (model.from_blocks, model.tower, model.output))
        tower = _behind_norm(model.norm_out, *tower)
        sizes = (config.d, config.attention_heads, config.layers, config.hidden, config.ffn, config.ffn, self.matched)
        weights = (self._kept_packed(match), *self._kept_pair(*narrow), *self._kept_pair(*tower), *self._kept_pair(*last))
        packed = kernel.Ranker(*sizes, model.output.out_features, *weights)
        for depth, layer in enumerate(model.layers):
            packed.layer[depth] = self._layer(layer)
        return packed

    def _layer(self, layer: Any) -> kernel.Layer:
        query, query_bias = _affine(layer.query)
        scale = (query.shape[0] // layer.attention_heads) ** -0.5
        key_value, key_value_bias = _affine(layer.key_value)
        joined = np.concatenate([query * scale, key_value], axis=1), np.concatenate([query_bias * scale, key_value_bias])
        pairs = (
            _behind_norm(layer.norm_attention, *joined),
            _affine(layer.out),
            _behind_norm(layer.norm_ffn, *_affine(layer.ffn[0])),
            _affine(layer.ffn[2]),
        )
        return kernel.Layer(*(address for pair in pairs for address in self._kept_pair(*pair)))

    def _kept_pair(self, weight: np.ndarray, bias: np.ndarray) -> tuple[int, int]:
        self._kept.append(kernel.aligned(bias))
        return self._kept_packed(weight), self._kept[-2].ctypes.data

    def _kept_packed(self, weight: np.ndarray) -> int:
        self._kept.append(kernel.aligned(kernel.packed(weight)))
        return self._kept[-1].ctypes.data


def _looked_up(rows: int, width: int) -> np.ndarray:
    """Memory for float32 rows that requests look up all over the table, not filled in.

    It is numpy's, which asks Linux for huge pages where an array is large; torch does not. On pages of 4 KB almost every row is
    one whose address the processor has forgotten since the last request, and looking up takes two to three times as long.
    """
    return np.empty((rows, width), np.float32)


def _plain(weight: Tensor) -> np.ndarray:
    """float32, row by row; a view where it lies so already."""
    return np.ascontiguousarray(weight.detach().numpy(), np.float32)


def _through(weight: np.ndarray, rows: Tensor) -> np.ndarray:
    """The first of rows (n, in) through a weight (in, out): float32 (out,).

    By no library that shares a product among threads: they would wait for its next one, busy, where candidates are scored.
    """
    return np.einsum("i,io->o", rows[0].numpy(), weight)


def _affine(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Weight (in, out) and bias (out,), float32."""
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _behind_norm(norm: nn.LayerNorm, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The affine map that does to standardised rows what scale, shift and map do one after the other."""
    scale, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    return scale[:, None] * weight, bias + shift @ weight


def _check(model: HeavyRanker) -> None:
    config = model.config
    sizes = {
        "d": config.d,
        "d / attention_heads": config.d / config.attention_heads,
        "hidden": config.hidden,
        "ffn": config.ffn,
    }
    odd = {name: size for name, size in sizes.items() if size % kernel.LANES}
    if odd:
        raise NotCompilable(f"the kernel takes widths that are multiples of {kernel.LANES}, not {odd}")
    if config.layers > kernel.MOST_LAYERS or model.output.out_features > kernel.MOST_OUTPUTS:
        raise NotCompilable(
            f"the kernel takes up to {kernel.MOST_LAYERS} layers and {kernel.MOST_OUTPUTS} heads, "
            f"not {config.layers} and {model.output.out_features}"
        )
