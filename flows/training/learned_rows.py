"""Training rows as all models of a bundle read them, and which of them no model learns from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from feature_repo.feature_rows import FeatureRows
from flows.training.fit_collaborative import fit_collaborative
from services.ranking.collaborative import CollaborativeVectors
from services.ranking.encoded_rows import EncodedRows
from services.ranking.id_hashing import hash_ids
from services.ranking.inputs import TableBits, known_surfaces
from services.ranking.normalise import Normaliser

CALIBRATION_SHARE = 0.05  # of the training rows


class TrainingRowsError(ValueError):
    """The rows cannot be trained on."""


@dataclass(frozen=True)
class LearnedRows:
    """Training rows as the models read them: with collaborative vectors, normalised, and some kept out for calibration."""

    rows: FeatureRows  # all of them, with vectors
    vectors: CollaborativeVectors | None
    fitted: EncodedRows  # what models learn from
    held_out: np.ndarray  # bool, of all rows
    fingerprint: str

    @staticmethod
    def of(train: FeatureRows, seed: int) -> LearnedRows:
        """Raises TrainingRowsError where the rows cannot be trained on."""
        _check(train)
        vectors = fit_collaborative(train, seed)
        rows = train if vectors is None else vectors.extend(train)
        held_out = held_out_rows(train)
        bits = TableBits(surfaces=known_surfaces(rows.product))
        fitted = EncodedRows(rows, Normaliser.fit(rows.blocks), bits, np.flatnonzero(~held_out))
        return LearnedRows(rows, vectors, fitted, held_out, rows_fingerprint(train))

    @property
    def fitted_rows(self) -> FeatureRows:
        """What models learn from, in memory."""
        return self.rows.take(self.fitted.chosen)

    @property
    def kept_out(self) -> EncodedRows:
        """The same rows as `calibrating`, encoded when they are asked for."""
        return EncodedRows(self.rows, self.fitted.normaliser, self.fitted.bits, np.flatnonzero(self.held_out))

    @property
    def calibrating(self) -> FeatureRows:
        """What no weight is trained on."""
        return self.rows.take(np.flatnonzero(self.held_out))


def rows_fingerprint(rows: FeatureRows) -> str:
    """16 hex digits over ids, times, labels and block sums: changes when the training rows do."""
    digest = hashlib.sha256()
    for array in (rows.user_id, rows.post_id, rows.occurred_at, rows.labels):
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    for name in sorted(rows.blocks):
        digest.update(f"{name}{rows.blocks[name].shape}".encode())
        digest.update(np.nansum(rows.blocks[name], axis=0, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def held_out_rows(rows: FeatureRows) -> np.ndarray:
    """bool (n,): rows kept for calibration, chosen by a hash of the row so that every run keeps the same ones."""
    mixed = rows.user_id * 1_000_003 + rows.post_id * 10_007 + (0 if rows.occurred_at is None else rows.occurred_at // 1_000)
    return hash_ids(np.abs(mixed), 16) < CALIBRATION_SHARE * (1 << 16)


def _check(train: FeatureRows) -> None:
    if train.labels is None:
        raise TrainingRowsError("the rows carry no labels: build them with point_in_time_rows, not candidate_rows")
    if len(train) < 100:
        raise TrainingRowsError(f"{len(train)} training rows are too few: at least 100 exposures are needed")
    if len(train.history) != len(train):
        raise TrainingRowsError(f"{len(train)} rows share {len(train.history)} histories; training needs one history per row")
