"""Messages of the topic `served`: what was shown to whom, and how the door's requests ended. Mixers and the door write them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

DEFAULT_POSTS = 20  # of a page whose request names no number
# What the door finds wrong with an answer that is no error.
ANOTHER_ANSWERED = "another release answered"
EMPTY = "an empty page"
NOT_NUMBERS = "scores that are no numbers"
SPLIT_HEADER = "x-mixer-split"  # by which the door tells an arm whose request it is, and during which step of a canary


COPY_HEADER = "x-mixer-shadow"  # on a copy of a request that another release answers: nobody sees its answer
EXPERIMENTS_HEADER = "x-mixer-experiments"  # the user's arm by experiment, as JSON
KNOBS_HEADER = "x-mixer-knobs"  # what the user's experiments turn, as JSON


CONTROL, TREATMENT = "control", "treatment"  # the arms of an experiment


def trial_of(experiment: str) -> str:
    """Under which an experiment's outcomes are kept: no release can be called so."""
    return f"x:{experiment}"


@dataclass(frozen=True)
class Split:
    """What the door's split said of a request.

    assigned: the user's release, whoever answers in the end. canary, step: the release on trial, and the ledger's number of
    the step that it is in; None where there is none.
    """

    assigned: str
    canary: str | None = None
    step: int | None = None

    def to_header(self) -> str:
        return self.assigned if self.canary is None else f"{self.assigned};{self.canary};{self.step}"

    @classmethod
    def from_header(cls, text: str | None) -> Split | None:
        """None for a request that came past the door, or a header that is none of ours."""
        parts = text.split(";") if text else []
        if len(parts) == 1:
            return cls(parts[0])
        return cls(parts[0], parts[1], int(parts[2])) if len(parts) == 3 and parts[2].isdigit() else None


class ServedPage(msgspec.Struct, tag="page", tag_field="kind"):
    """Posts that a release ranked for a user. `shadow`: a copy that nobody saw; it says what the release would have predicted.

    posts, authors, scores, sources, propensity: by position. predictions: see `packed`; of the actions `heads`.
    """

    request_id: str
    user_id: int
    product: str
    release: str
    served_at: int  # the moment of use, UTC microseconds
    posts: list[int]
    authors: list[int] = []
    surface: str = ""
    logged_at: int = 0  # by the clock of the wall, UTC microseconds: replayed requests are of another day
    assigned: str | None = None
    canary: str | None = None
    step: int | None = None
    snapshot: str = ""
    scores: list[float | None] = []
    sources: list[str] = []
    propensity: list[float] = []
    heads: list[str] = []
    predictions: str = ""
    age_hours: float | None = None  # median over the posts; None for a page without posts
    took_ms: float = 0.0
    shadow: bool = False
    experiments: dict[str, str] = {}  # the user's arm by experiment
    degraded: list[str] = []


class DoorAnswer(msgspec.Struct, tag="answer", tag_field="kind"):
    """How one request at the door ended, as the client saw it. `wrong`: what is wrong with it, None where nothing is."""

    user: str
    path: str
    at: int  # by the clock of the wall, UTC microseconds
    status: int
    ms: float
    assigned: str | None = None
    canary: str | None = None
    step: int | None = None
    release: str | None = None  # that answered; None where none did
    wrong: str | None = None
    experiments: dict[str, str] = {}
    posts: int = 0
    asked: int = 0  # posts; 0 where the request names no number


_DECODER = msgspec.json.Decoder(ServedPage | DoorAnswer)
_ENCODER = msgspec.json.Encoder()


def decode_served(text: bytes) -> ServedPage | DoorAnswer:
    """The message; raises msgspec.DecodeError for anything else."""
    return _DECODER.decode(text)


def fields_of(message: ServedPage | DoorAnswer) -> dict:
    """The message as plain values that serialise as JSON, with its kind."""
    return msgspec.to_builtins(message)


def packed(predictions: np.ndarray) -> str:
    """Probabilities (n, heads) as text: base64 of float32, row by row."""
    return base64.b64encode(np.ascontiguousarray(predictions, "<f4").tobytes()).decode()


def unpacked(text: str, posts: int, heads: Sequence[str]) -> np.ndarray:
    """Probabilities, float64 (posts, len(heads)), of `packed`; raises ValueError where the text holds another number."""
    values = np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)
    if len(values) != posts * len(heads):
        raise ValueError(f"{len(values)} predictions for {posts} posts and {len(heads)} actions")
    return values.reshape(posts, len(heads))
