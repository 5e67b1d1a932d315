"""Two towers on a few rows, alone or under torchrun: `small_towers FOLDER` writes RANK.safetensors of what they came to."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from flows.training.fit_two_tower import fit_two_tower
from flows.training.process_group import ProcessGroup
from services.ranking.encoded_rows import EncodedRows
from services.ranking.normalise import Normaliser
from tests.synthetic_rows import synthetic_rows

ROWS = 1_001  # in batches of ten: the last one is a single row, and one of two processes has none


def main(folder: str) -> None:
    torch.set_num_threads(1)
    rows = synthetic_rows(ROWS, seed=1)
    encoded = EncodedRows(rows, Normaliser.fit(rows.blocks))
    towers, losses = fit_two_tower(encoded, rows.labels, seed=3, fingerprint="rows", checkpoints=Path(folder) / "checkpoints")
    outcome = {**towers.state_dict(), "losses": torch.tensor(losses)}
    save_file(outcome, Path(folder) / f"{ProcessGroup.current().rank}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
