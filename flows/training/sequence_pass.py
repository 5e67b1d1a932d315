"""All that a training step reads, through the ranker's layers at once.

Exposures, candidates, users and exposures that are asked about are rows of one matrix: a layer's norms, products and dropouts
are computed once for all of them and for all groups of sequences. What reads what differs by kind and by group, so attention
alone goes group by group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from feature_repo.feature_rows import HISTORY_LENGTH
from flows.training.next_exposure import NextExposure, Questions
from flows.training.user_sequences import SequenceBatch
from services.ranking.heavy import ABSENT, HeavyRanker, Layer, read_isolated
from services.ranking.inputs import AGE_ROWS, AGE_UNKNOWN, HistoryTensors, RowTensors

KINDS = EXPOSED, ASKED, CANDIDATES, USERS = range(4)  # of tokens, in the matrix's order


@dataclass(frozen=True)
class SequenceOutputs:
    """Of r rows the ranker's outputs (r, OUTPUTS), and the logits (m, len(NEXT_MASKS)) that answer m questions."""

    rows: Tensor
    answers: Tensor
    questions: list[Questions]  # by batch


def sequence_outputs(
    model: HeavyRanker, following: NextExposure, batches: Sequence[SequenceBatch], rows: RowTensors
) -> SequenceOutputs:
    """Outputs of `rows`, which are those of `batches` in turn, and the answers of `following` to what is asked of these.

    The outputs are what `model(rows)` computes from a history for each row, for rows whose sequences begin with their own
    history; further rows' exposures have read exposures from before their window too.
    """
    parts = [_Part(model, batch) for batch in batches]
    x_ND, blocks_NH = _tokens(model, following, parts, rows)
    for depth, layer in enumerate(model.layers):
        heads = iter(layer.heads(x_ND).split([part.sizes[kind] for kind in KINDS for part in parts]))
        by_kind = [[next(heads) for _ in parts] for _ in KINDS]
        reads = [part.reads(layer, depth, own) for part, own in zip(parts, zip(*by_kind, strict=True), strict=True)]
        last = depth + 1 == len(model.layers)  # after which nobody reads a user
        read_ND = torch.cat([read[kind] for kind in KINDS if kind != USERS or not last for read in reads])
        x_ND = layer.finish(x_ND[: len(read_ND)], read_ND)
    exposed_ND, asked_ND, candidates_ND = x_ND.split([sum(part.sizes[kind] for part in parts) for kind in KINDS[:USERS]])
    return SequenceOutputs(
        model.outputs(_kept(candidates_ND, parts), blocks_NH),
        following.logits(*_questions(parts, exposed_ND, asked_ND)),
        [part.questions for part in parts],
    )


class _Part:
    """One batch's part of the pass: how many tokens of each kind it has, and what they may read."""

    def __init__(self, model: HeavyRanker, batch: SequenceBatch) -> None:
        self.batch = batch
        self.questions = Questions.of(batch)
        span = self.questions.span
        b, t = batch.tokens.age.shape
        q = batch.there.shape[1]
        self.shapes = ((b, t), (b, span), (b, q), (b, q))
        self.sizes = [rows * columns for rows, columns in self.shapes]
        self.window = _window(batch.tokens.padding)
        self.age_bias = _age_bias(model, batch)
        # An exposure that is asked about may read those up to the one before it: itself is not among them.
        self.later = torch.ones(span, span, dtype=torch.bool, device=batch.age.device).triu(1)

    def reads(self, layer: Layer, depth: int, heads: Sequence[Tensor]) -> list[Tensor]:
        """What this part's tokens read in the layer, by kind (tokens, D); `heads`: theirs of `Layer.heads`, by kind."""
        by_head = [layer.by_head(own, *shape) for own, shape in zip(heads, self.shapes, strict=True)]
        (query, key, value), (asks, *asked), (wants, *itself), (_, *user) = by_head
        before = key[:, :, : asks.shape[2]], value[:, :, : asks.shape[2]]
        of_order = layer.age_bias[AGE_UNKNOWN].view(-1, 1, 1).masked_fill(self.later, ABSENT)
        read = [  # (B, tokens, D) or (B, tokens, H, K) each
            F.scaled_dot_product_attention(query, key, value, attn_mask=self.window).transpose(1, 2),
            read_isolated(asks, before, of_order, [asked]),
            read_isolated(wants, (key, value), self.age_bias[depth], [itself, user]),
            user[1].transpose(1, 2),
        ]
        return [one.reshape(own.shape[0], own.shape[1] // 3) for one, own in zip(read, heads, strict=True)]


def _tokens(model: HeavyRanker, following: NextExposure, parts: Sequence[_Part], rows: RowTensors) -> tuple[Tensor, Tensor]:
    """All tokens before the first layer (N, D), and the sum of the rows' blocks (r, hidden)."""
    history = HistoryTensors(
        *(torch.cat([getattr(part.batch.tokens, f.name).flatten() for part in parts]) for f in fields(HistoryTensors))
    )
    joined = [torch.cat([getattr(history, name), getattr(rows, name)]) for name in ("post", "author", "topic")]
    shown_ND, item_ND = model.item(*joined).split([len(history), len(rows)])
    known_ND, blocks_NH = model.known(rows)
    candidates = _placed(torch.cat([known_ND + item_ND, model.user_token(rows.blocks["user"])], dim=1), parts)
    exposed, asked = shown_ND + model.outcome(history), _asked(shown_ND, parts) + following.asked
    return torch.cat([exposed, asked, *candidates.chunk(2, dim=1)]), blocks_NH


def _age_bias(model: HeavyRanker, batch: SequenceBatch) -> Tensor:
    """(layers, B, H, Q, T): what each exposure's age adds to a candidate's attention; ABSENT where it does not read it.

    One product with the ages' indicators: gradients of a lookup would be added up one exposure at a time.
    """
    b, q, t = batch.age.shape
    is_age = (batch.age.view(1, -1) == torch.arange(AGE_ROWS, device=batch.age.device).unsqueeze(1)).float()
    stacked = torch.cat([layer.age_bias for layer in model.layers], dim=1)
    bias = (stacked.T @ is_age).view(len(model.layers), -1, b, q, t).transpose(1, 2)
    return bias.masked_fill(~batch.seen.unsqueeze(1), ABSENT)


def _placed(x_ND: Tensor, parts: Sequence[_Part]) -> Tensor:
    """Rows at their places in the sequences, (candidate tokens, D): zeros where a sequence has fewer rows than another."""
    there = _there(parts)
    if there.all():
        return x_ND
    return x_ND.new_zeros(len(there), x_ND.shape[1]).index_copy(0, there.nonzero().squeeze(1), x_ND)


def _kept(x_ND: Tensor, parts: Sequence[_Part]) -> Tensor:
    """The rows that `_placed` placed."""
    there = _there(parts)
    return x_ND if there.all() else x_ND[there]


def _there(parts: Sequence[_Part]) -> Tensor:
    """bool (candidate tokens,): whether there is a row."""
    return torch.cat([part.batch.there.flatten() for part in parts])


def _asked(x_ND: Tensor, parts: Sequence[_Part]) -> Tensor:
    """Of all exposures those that are asked about, and what stands between them (asked tokens, D)."""
    return torch.cat([x_BTD[:, 1 : 1 + span].flatten(0, 1) for x_BTD, span in _by_part(x_ND, parts, EXPOSED)])


def _questions(parts: Sequence[_Part], exposed_ND: Tensor, asked_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Of each question (m, D): the exposure that is asked about, and the one before it."""
    asked, before = [], []
    for part, (x_BTD, span), (asked_BSD, _) in zip(
        parts, _by_part(exposed_ND, parts, EXPOSED), _by_part(asked_ND, parts, ASKED), strict=True
    ):
        chosen = part.questions.chosen.flatten().nonzero().squeeze(1)
        asked.append(asked_BSD.flatten(0, 1).index_select(0, chosen))
        before.append(x_BTD[:, :span].flatten(0, 1).index_select(0, chosen))
    return torch.cat(asked), torch.cat(before)


def _by_part(x_ND: Tensor, parts: Sequence[_Part], kind: int) -> list[tuple[Tensor, int]]:
    """Tokens of a kind by part (B, T, D), each with the part's span of questions."""
    split = x_ND.split([part.sizes[kind] for part in parts])
    return [
        (one.view(*part.shapes[kind], x_ND.shape[1]), part.shapes[ASKED][1]) for one, part in zip(split, parts, strict=True)
    ]


def _window(padding: Tensor) -> Tensor:
    """bool (B, 1, T, T): an exposure reads itself and those before it that its own history would hold."""
    t = padding.shape[1]
    place = torch.arange(t, device=padding.device)
    back = place.unsqueeze(1) - place
    near = (back >= 0) & (back < HISTORY_LENGTH)
    return ((near & ~padding.unsqueeze(1)) | (back == 0)).unsqueeze(1)
