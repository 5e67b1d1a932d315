"""The heavy ranker: a transformer with candidate isolation and one head per action.

Context tokens (one for the user, one per exposure in the history) attend to each other. A candidate attends to the context
and to itself, never to another candidate: so its score does not depend on what else is ranked, and the context's keys
and values are computed once per request. (The mask is that of xai-org/x-algorithm's Phoenix ranker.)

Shapes: B batch of contexts (1 when one request's candidates share it), N candidates, T context tokens, D width,
H attention heads, K = D / H.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_repo.feature_rows import BLOCKS, HEADS, HISTORY_LENGTH
from services.ranking.inputs import ACTION_MASKS, AGE_ROWS, PRODUCT_ROWS, HistoryTensors, RowTensors, TableBits


@dataclass(frozen=True)
class HeavyConfig:
    """Sizes of the heavy ranker; stored beside its weights."""

    widths: dict[str, int]  # block -> columns
    bits: TableBits = field(default_factory=TableBits)
    d: int = 32
    attention_heads: int = 2
    layers: int = 2
    hidden: int = 192  # width of the block sum
    ffn: int = 64
    dropout: float = 0.05
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
        self.names = tuple(name for name in BLOCKS if widths.get(name, 0) > 0)
        total = sum(widths.values())
        self.projections = nn.ModuleDict({name: nn.Linear(widths[name], out, bias=False) for name in self.names})
        self.bias = nn.Parameter(torch.zeros(out))
        for projection in self.projections.values():  # as if it were one layer of `total` inputs
            nn.init.normal_(projection.weight, std=total**-0.5)

    def forward(self, blocks: dict[str, Tensor]) -> Tensor:
        """Blocks (N, width) -> (N, out)."""
        summed = self.bias
        for name in self.names:
            block_NW = blocks[name]
            shared = block_NW.shape[0] > 1 and block_NW.stride(0) == 0
            summed = summed + self.projections[name](block_NW[:1] if shared else block_NW)
        return summed


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
        self.dropout = nn.Dropout(config.dropout)

    def keys_values(self, normed_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (B, H, T, K)."""
        b, t, d = normed_BTD.shape
        kv = self.key_value(normed_BTD).view(b, t, 2, self.attention_heads, d // self.attention_heads)
        key, value = kv.permute(2, 0, 3, 1, 4)
        return key, value

    def context(self, x_BTD: Tensor, normed_BTD: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Context tokens after this layer; `mask` bool (B, 1, 1, T) is true where a key may be read."""
        b, t, d = x_BTD.shape
        query = self.query(normed_BTD).view(b, t, self.attention_heads, -1).transpose(1, 2)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.finish(x_BTD, read.transpose(1, 2).reshape(b, t, d))

    def candidates(self, x_ND: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Candidates after this layer: each reads the context (B = 1 or N) and itself."""
        n, d = x_ND.shape
        normed = self.norm_attention(x_ND)
        query_NHK = self.query(normed).view(n, self.attention_heads, -1) * (d // self.attention_heads) ** -0.5
        own_key, own_value = self.key_value(normed).view(n, 2, self.attention_heads, -1).unbind(1)
        own_logit = (query_NHK * own_key).sum(-1, keepdim=True)  # (N, H, 1)
        if len(key) == 1:
            logits = torch.matmul(query_NHK.transpose(0, 1), key[0].transpose(-1, -2)).transpose(0, 1)
        else:
            logits = torch.matmul(query_NHK.unsqueeze(2), key.transpose(-1, -2)).squeeze(2)
        logits = logits.masked_fill(~mask.squeeze(1), float("-inf"))  # (N, H, T)
        share = torch.cat([logits, own_logit], dim=-1).softmax(-1)
        to_context, to_self = share[..., :-1], share[..., -1:]
        if len(key) == 1:
            read = torch.matmul(to_context.transpose(0, 1), value[0]).transpose(0, 1)
        else:
            read = torch.matmul(to_context.unsqueeze(2), value).squeeze(2)
        return self.finish(x_ND, (read + to_self * own_value).reshape(n, d))

    def finish(self, x: Tensor, read: Tensor) -> Tensor:
        x = x + self.dropout(self.out(read))
        return x + self.dropout(self.ffn(self.norm_ffn(x)))


@dataclass(frozen=True)
class EncodedContext:
    """What candidates read of a context: keys and values by layer (B, H, T, K), and which tokens are there (B, 1, 1, T)."""

    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor


class HeavyRanker(nn.Module):
    """Logits per action for candidates, given a user's context."""

    def __init__(self, config: HeavyConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d
        self.post = _table(1 << config.bits.post, d)
        self.author = _table(1 << config.bits.author, d)
        self.topic = _table(1 << config.bits.topic, d)
        self.product = _table(PRODUCT_ROWS, d)
        self.age = _table(AGE_ROWS, d)
        self.position = nn.Parameter(torch.randn(config.history, d) * 0.02)
        self.actions = nn.Linear(len(HEADS), d, bias=False)
        masks = torch.arange(ACTION_MASKS).unsqueeze(1) >> torch.arange(len(HEADS))
        self.register_buffer("action_bits", (masks & 1).float(), persistent=False)
        self.user_token = nn.Linear(max(config.widths.get("user", 0), 1), d)
        self.block_sum = BlockSum(config.widths, config.hidden)
        self.from_blocks = nn.Linear(config.hidden, d)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm_out = nn.LayerNorm(d + config.hidden)
        self.tower = nn.Linear(d + config.hidden, config.ffn)
        self.output = nn.Linear(config.ffn, len(HEADS))
        self.dropout = nn.Dropout(config.dropout)

    def item(self, post: Tensor, author: Tensor, topic: Tensor) -> Tensor:
        """Embedding of posts, any shape of ids -> (..., D)."""
        return self.post(post) + self.author(author) + self.topic(topic)

    def encode_context(self, user_BW: Tensor, history: HistoryTensors) -> EncodedContext:
        """Run the context through the layers once. `user_BW` is the normalised user block, a row per history."""
        exposures = self.item(history.post, history.author, history.topic)
        exposures = exposures + F.embedding(history.actions.int(), self.actions(self.action_bits))
        exposures = exposures + self.product(history.product) + self.age(history.age) + self.position
        x_BTD = torch.cat([self.user_token(user_BW).unsqueeze(1), exposures], dim=1)
        absent = F.pad(history.padding, (1, 0), value=False)
        mask = ~absent[:, None, None, :]
        keys, values = [], []
        for depth, layer in enumerate(self.layers):
            normed = layer.norm_attention(x_BTD)
            key, value = layer.keys_values(normed)
            keys.append(key)
            values.append(value)
            if depth + 1 < len(self.layers):  # after the last keys nobody reads the context
                x_BTD = layer.context(x_BTD, normed, key, value, mask)
        return EncodedContext(keys, values, mask)

    def score(self, rows: RowTensors, context: EncodedContext) -> Tensor:
        """Logits (N, len(HEADS)) of candidates under a context of their own (B = N) or a shared one (B = 1)."""
        blocks_NH = bend(self.block_sum(rows.blocks))
        x_ND = self.from_blocks(self.dropout(blocks_NH)) + self.item(rows.post, rows.author, rows.topic)
        x_ND = x_ND + self.product(rows.product)
        for layer, key, value in zip(self.layers, context.keys, context.values, strict=True):
            x_ND = layer.candidates(x_ND, key, value, context.mask)
        joined = self.norm_out(torch.cat([x_ND, blocks_NH.expand(len(x_ND), -1)], dim=1))
        return self.output(self.dropout(bend(self.tower(joined))))

    def forward(self, rows: RowTensors) -> Tensor:
        """Logits (N, len(HEADS)); the context is encoded once when the rows share one history."""
        user_BW = rows.blocks["user"][: len(rows.history)]
        return self.score(rows, self.encode_context(user_BW, rows.history))


def _table(rows: int, d: int) -> nn.Embedding:
    table = nn.Embedding(rows, d)
    nn.init.normal_(table.weight, std=0.02)
    return table
