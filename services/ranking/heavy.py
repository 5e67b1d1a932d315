"""The heavy ranker: a transformer with candidate isolation, one head per action and one for dwell.

Context tokens (one for the user, one per exposure in the history) are read by candidates; a candidate reads the context and
itself, never another candidate: so its score does not depend on what else is ranked, and the context's keys and values are
computed once per request. (The mask is that of xai-org/x-algorithm's Phoenix ranker.)

An exposure reads itself and the exposures before it, as in SASRec (Kang and McAuley 2018), and the user's token reads itself:
so no token depends on the moment of use, and in training one pass over a user's exposures serves all rows of that user. How
long ago an exposure was is a bias on the candidate's attention, by layer and head.

Shapes: B batch of contexts (1 when one request's candidates share it), N candidates, Q candidates under one context,
T context tokens, D width, H attention heads, K = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.feature_rows import HEADS, HISTORY_LENGTH, MODEL_BLOCKS
from services.ranking.dropout import ByteDropout
from services.ranking.inputs import (
    AGE_ROWS,
    DWELL_ROWS,
    OUTPUTS,
    PRODUCT_ROWS,
    HistoryTensors,
    RowTensors,
    TableBits,
    action_flags,
)
from services.ranking.tables import Table

ABSENT = -1e30  # added to the logit of a token that is not there
TABLE_DEVIATION = 0.02  # of embeddings before any training


@dataclass(frozen=True)
class HeavyConfig:
    """Sizes of the heavy ranker; stored beside its weights."""

    widths: dict[str, int]  # block -> columns
    bits: TableBits = field(default_factory=TableBits)
    d: int = 64
    attention_heads: int = 4
    layers: int = 2
    hidden: int = 192  # width of the block sum
    ffn: int = 128
    dropout: float = 0.1
    history: int = HISTORY_LENGTH  # exposures in the context

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(content: dict) -> HeavyConfig:
        return HeavyConfig(**{**content, "bits": TableBits(**content["bits"])})


def bend(x: Tensor) -> Tensor:
    """GELU in its tanh form, which the compiled kernel computes too."""
    return F.gelu(x, approximate="tanh")


class BlockSum(nn.Module):
    """First layer over the dense blocks: a sum of one projection per block, equal to one wide dense layer.

    Kept apart so that a block's part can be computed once for whatever shares it (a user's for all candidates).
    """

    def __init__(self, widths: dict[str, int], out: int) -> None:
        super().__init__()
        self.names = tuple(name for name in MODEL_BLOCKS if widths.get(name, 0) > 0)
        total = sum(widths.values())
        self.projections = nn.ModuleDict({name: nn.Linear(widths[name], out, bias=False) for name in self.names})
        self.bias = nn.Parameter(torch.zeros(out))
        for projection in self.projections.values():  # as if it were one layer of `total` inputs
            nn.init.normal_(projection.weight, std=total**-0.5)

    def forward(self, blocks: dict[str, Tensor]) -> Tensor:
        """Blocks (N, width) -> (N, out); a block of one row, or one broadcast from a row, is projected once for all."""
        shared = {name: len(blocks[name]) > 1 and blocks[name].stride(0) == 0 for name in self.names}
        apart = len({len(blocks[name]) for name in self.names}) == 1 and not any(shared.values())
        if apart and self.training:  # one product; once trained, a module may be quantised and have no weight
            weight_OW = torch.cat([self.projections[name].weight for name in self.names], dim=1)
            return F.linear(torch.cat([blocks[name] for name in self.names], dim=1), weight_OW, self.bias)
        summed = self.bias
        for name in self.names:
            summed = summed + self.projections[name](blocks[name][:1] if shared[name] else blocks[name])
        return summed


KeysValues = tuple[Tensor, Tensor]


def read_isolated(query: Tensor, context: KeysValues, bias: Tensor, own: Sequence[KeysValues]) -> Tensor:
    """What candidates read, (B, Q, D): each its context, and what is its own alone.

    `query` (B, H, Q, K); `context`, each (B, H, T, K); `bias`, broadcast to (B, H, Q, T), is added to the context's logits;
    `own`, each (B, H, Q, K): one token for each candidate, the first of them the candidate itself.
    """
    query = query * query.shape[-1] ** -0.5
    logits = torch.matmul(query, context[0].transpose(-1, -2)) + bias
    own_logits = [(query * key).sum(-1, keepdim=True) for key, _ in own]  # (B, H, Q, 1) each
    width = logits.shape[-1]
    share, *own_shares = torch.cat([logits, *own_logits], dim=-1).softmax(-1).split([width, *[1] * len(own)], dim=-1)
    read = torch.matmul(share, context[1])
    for of_own, (_, value) in zip(own_shares, own, strict=True):
        read = read + of_own * value
    return read.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Pre-norm attention and feed-forward; context and candidates go through the same weights."""

    def __init__(self, config: HeavyConfig) -> None:
        super().__init__()
        d = config.d
        self.attention_heads = config.attention_heads
        self.norm_attention = nn.LayerNorm(d)
        self.query = nn.Linear(d, d)
        self.key_value = nn.Linear(d, 2 * d)
        self.out = nn.Linear(d, d)
        self.norm_ffn = nn.LayerNorm(d)
        self.ffn = nn.Sequential(nn.Linear(d, config.ffn), nn.GELU(approximate="tanh"), nn.Linear(config.ffn, d))
        self.dropout = ByteDropout(config.dropout)
        self.age_bias = nn.Parameter(torch.zeros(AGE_ROWS, config.attention_heads))

    def heads(self, x_ND: Tensor) -> Tensor:
        """Queries, keys and values (N, 3 D) of tokens, side by side: of one norm and one product, for training."""
        weight = torch.cat([self.query.weight, self.key_value.weight])
        return F.linear(self.norm_attention(x_ND), weight, torch.cat([self.query.bias, self.key_value.bias]))

    def by_head(self, side_by_side: Tensor, *shape: int) -> tuple[Tensor, ...]:
        """Of what stands side by side for tokens of `shape` (B, T), (B T, n D) or (B, T, n D): n times (B, H, T, K)."""
        width = self.query.in_features // self.attention_heads
        kinds = side_by_side.shape[-1] // self.query.in_features
        return side_by_side.view(*shape, kinds, self.attention_heads, width).permute(2, 0, 3, 1, 4).unbind()

    def keys_values(self, x_BTD: Tensor) -> KeysValues:
        """Keys and values of tokens, each (B, H, T, K)."""
        key, value = self.by_head(self.key_value(self.norm_attention(x_BTD)), *x_BTD.shape[:2])
        return key, value

    def queries_keys_values(self, x_BTD: Tensor) -> tuple[Tensor, KeysValues]:
        """Queries of tokens (B, H, T, K), and `keys_values`: through the modules, which may have been quantised."""
        normed, shape = self.norm_attention(x_BTD), x_BTD.shape[:2]
        (query,) = self.by_head(self.query(normed), *shape)
        key, value = self.by_head(self.key_value(normed), *shape)
        return query, (key, value)

    def context(self, x_BTD: Tensor, mask: Tensor) -> tuple[Tensor, KeysValues]:
        """Context tokens after this layer, and their keys and values; `mask` bool (B, 1, T, T): which token reads which."""
        query, own = self.queries_keys_values(x_BTD)
        read = F.scaled_dot_product_attention(query, *own, attn_mask=mask)
        return self.finish(x_BTD, read.transpose(1, 2).reshape(x_BTD.shape)), own

    def alone(self, x_BTD: Tensor, own: KeysValues) -> Tensor:
        """Tokens that read nothing but themselves, after this layer."""
        return self.finish(x_BTD, own[1].transpose(1, 2).reshape(x_BTD.shape))

    def candidates(self, x_BQD: Tensor, context: KeysValues, bias: Tensor) -> Tensor:
        """Candidates after this layer: each reads its context and itself; `bias` as in `read_isolated`."""
        query, own = self.queries_keys_values(x_BQD)
        return self.finish(x_BQD, read_isolated(query, context, bias, [own]))

    def finish(self, x: Tensor, read: Tensor) -> Tensor:
        x = x + self.dropout(self.out(read))
        return x + self.dropout(self.ffn(self.norm_ffn(x)))


@dataclass(frozen=True)
class EncodedContext:
    """What candidates read of a context, by layer: keys and values (B, H, T, K), and biases on the logits (B, H, 1, T)."""

    keys: list[Tensor]
    values: list[Tensor]
    biases: list[Tensor]


class HeavyRanker(nn.Module):
    """What candidates will meet with (OUTPUTS), given a user's context."""

    def __init__(self, config: HeavyConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d
        self.post = Table(1 << config.bits.post, d, TABLE_DEVIATION)
        self.author = Table(1 << config.bits.author, d, TABLE_DEVIATION)
        self.topic = Table(1 << config.bits.topic, d, TABLE_DEVIATION)
        self.product = Table(PRODUCT_ROWS, d, TABLE_DEVIATION)
        self.gap = Table(AGE_ROWS, d, TABLE_DEVIATION)
        self.dwell = Table(DWELL_ROWS, d, TABLE_DEVIATION)
        self.actions = nn.Linear(len(HEADS), d, bias=False)
        self.user_token = nn.Linear(max(config.widths.get("user", 0), 1), d)
        self.block_sum = BlockSum(config.widths, config.hidden)
        self.from_blocks = nn.Linear(config.hidden, d)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm_out = nn.LayerNorm(d + config.hidden)
        self.tower = nn.Linear(d + config.hidden, config.ffn)
        self.output = nn.Linear(config.ffn, OUTPUTS)
        self.dropout = ByteDropout(config.dropout)

    def item(self, post: Tensor, author: Tensor, topic: Tensor) -> Tensor:
        """Embedding of posts, any shape of ids -> (..., D)."""
        return self.post(post) + self.author(author) + self.topic(topic)

    def exposures(self, history: HistoryTensors) -> Tensor:
        """Tokens (B, T, D) of exposures: what was shown, and what came of it."""
        return self.item(history.post, history.author, history.topic) + self.outcome(history)

    def outcome(self, history: HistoryTensors) -> Tensor:
        """Of exposures, any shape -> (..., D): where it was shown, what was done, how long, and how long after the last."""
        tokens = self.actions(action_flags(history.actions))
        return tokens + self.product(history.product) + self.gap(history.gap) + self.dwell(history.dwell)

    def encode_context(self, user_BW: Tensor, history: HistoryTensors) -> EncodedContext:
        """Run the context through the layers once. `user_BW` is the normalised user block, a row per history."""
        x_BTD = self.exposures(history)
        x_B1D = self.user_token(user_BW).unsqueeze(1)
        mask = reads_before(history.padding)
        keys, values, biases = [], [], []
        for depth, layer in enumerate(self.layers):
            user = layer.keys_values(x_B1D)
            if depth + 1 < len(self.layers):
                x_BTD, own = layer.context(x_BTD, mask)
                x_B1D = layer.alone(x_B1D, user)
            else:  # after the last keys nobody reads the context
                own = layer.keys_values(x_BTD)
            keys.append(torch.cat([user[0], own[0]], dim=2))
            values.append(torch.cat([user[1], own[1]], dim=2))
            bias_BHT = F.embedding(history.age, layer.age_bias).transpose(1, 2)
            bias_BHT = bias_BHT.masked_fill(history.padding.unsqueeze(1), ABSENT)
            biases.append(F.pad(bias_BHT, (1, 0)).unsqueeze(2))
        return EncodedContext(keys, values, biases)

    def candidate(self, rows: RowTensors) -> tuple[Tensor, Tensor]:
        """Candidates before the first layer (N, D), and their blocks' sum (N or 1, hidden)."""
        x_ND, blocks_NH = self.known(rows)
        return x_ND + self.item(rows.post, rows.author, rows.topic), blocks_NH

    def known(self, rows: RowTensors) -> tuple[Tensor, Tensor]:
        """What `candidate` gives, without what the post, its author and its topic are."""
        blocks_NH = bend(self.block_sum(rows.blocks))
        return self.from_blocks(self.dropout(blocks_NH)) + self.product(rows.product), blocks_NH

    def outputs(self, x_ND: Tensor, blocks_NH: Tensor) -> Tensor:
        """(N, OUTPUTS) of candidates after the last layer."""
        joined = self.norm_out(torch.cat([x_ND, blocks_NH.expand(len(x_ND), -1)], dim=1))
        return self.output(self.dropout(bend(self.tower(joined))))

    def score(self, rows: RowTensors, context: EncodedContext) -> Tensor:
        """Outputs (N, OUTPUTS) of candidates under a context of their own (B = N) or a shared one (B = 1)."""
        x_ND, blocks_NH = self.candidate(rows)
        x_BQD = x_ND.unsqueeze(0) if len(context.keys[0]) == 1 else x_ND.unsqueeze(1)
        for layer, key, value, bias in zip(self.layers, context.keys, context.values, context.biases, strict=True):
            x_BQD = layer.candidates(x_BQD, (key, value), bias)
        return self.outputs(x_BQD.reshape(x_ND.shape), blocks_NH)

    def forward(self, rows: RowTensors) -> Tensor:
        """Outputs (N, OUTPUTS); the context is encoded once when the rows share one history."""
        user_BW = rows.blocks["user"][: len(rows.history)]
        return self.score(rows, self.encode_context(user_BW, rows.history))


def reads_before(padding: Tensor) -> Tensor:
    """bool (B, 1, T, T) from bool (B, T): a token reads itself and what was there before it."""
    t = padding.shape[1]
    itself = torch.eye(t, dtype=torch.bool, device=padding.device)
    before = torch.ones(t, t, dtype=torch.bool, device=padding.device).tril()
    return ((before & ~padding.unsqueeze(1)) | itself).unsqueeze(1)
