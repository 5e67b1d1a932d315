"""Peer: SASRec of RecTools, the next liked post from the sequence of liked ones (Kang and McAuley 2018).

RecTools does not agree with this project's lock file (it needs older releases of attrs, numpy and pyarrow), so it lives in an
environment of its own and is asked through files. The network is frozen at the split; a row is scored with the sequence that
the user had by then.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.feature_rows import FeatureRows
from flows.steps.progress import announce
from tests.bench.quality.measured_heads import Predict, measured_labels
from tests.bench.quality.peer import NotRun
from tests.bench.quality.peer_environment import peer_environment
from tests.bench.quality.positives import liked, past_likes
from tests.bench.quality.score_map import ScoreMap
from tests.bench.quality.validation import older_and_newest

NAME = "SASRec (RecTools)"
EPOCHS = 4
PACKAGES = ("rectools[torch]==0.19.0", "torch==2.13.0", "pyarrow==21.0.0")
PROGRAM = Path(__file__).with_name("sasrec_program.py")
_TRUST_S = 3_600  # whoever needs longer hangs


def fit(
    train: FeatureRows, seed: int, threads: int, folder: Path, *, environments: Path, epochs: int = EPOCHS
) -> dict[str, Predict]:
    """The map from scores to probabilities comes from the newest training days, scored by a network of the days before them.

    `environments` is the folder under which RecTools has its own (1 GB, most of it torch). Raises what `peer_environment` does.
    """
    python = peer_environment(environments / "rectools", PACKAGES, NAME)
    older, newest = older_and_newest(train)
    asked = train.take(newest)
    announce(f"{NAME}: learning from the older training days, for the map of its scores")
    earlier = Fitted(python, folder / "older", threads).learn(train.take(older), seed, epochs, asked)
    to_probability = ScoreMap.fit(earlier.found(), measured_labels(asked))
    announce(f"{NAME}: learning from all training days")
    fitted = Fitted(python, folder / "all", threads).learn(train, seed, epochs)
    return {NAME: lambda rows: to_probability.apply(fitted.scores(rows))}


class Fitted:
    """A network in a folder, fitted and asked by another process, which takes long to import what it needs."""

    def __init__(self, python: Path, folder: Path, threads: int) -> None:
        self._python, self._folder, self._threads = python, folder, threads

    def learn(self, rows: FeatureRows, seed: int, epochs: int, asked: FeatureRows | None = None) -> Fitted:
        """Fit the network; where `asked` is given, score those rows in the same process: see `found`."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        pairs = liked(rows)
        pl.DataFrame({"user_id": pairs.user_id, "post_id": pairs.post_id}).write_parquet(self._folder / "liked.parquet")
        if asked is not None:
            self._write_asked(asked)
        self._ask("fit" if asked is None else "fit-and-score", "--seed", str(seed), "--epochs", str(epochs))
        return self

    def scores(self, rows: FeatureRows) -> np.ndarray:
        """float32 (n,); NaN for a user who has liked nothing yet and for a post that nobody had liked."""
        self._write_asked(rows)
        self._ask("score")
        return self.found()

    def found(self) -> np.ndarray:
        """The scores of the rows that were asked for last, as `scores` gives them."""
        return pl.read_parquet(self._folder / "scores.parquet")["score"].to_numpy().astype(np.float32)

    def _write_asked(self, rows: FeatureRows) -> None:
        likes = past_likes(rows.history)
        pl.DataFrame({"post_id": rows.post_id, "liked": [row[row >= 0] for row in likes]}).write_parquet(
            self._folder / "asked.parquet"
        )

    def _ask(self, *arguments: str) -> None:
        """Run the program to its end; isolated, so that no module of this project is taken for one of its own."""
        command = [self._python, "-I", PROGRAM, *arguments, "--folder", self._folder, "--threads", str(self._threads)]
        answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=_TRUST_S)
        if answer.returncode:
            raise NotRun(f"`{arguments[0]}` failed: {_last_line(answer.stderr)}; see {PROGRAM.name} in {self._folder}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
