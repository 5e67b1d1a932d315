"""State tables on disk: written by the batch engine, read back as sorted columns for as-of questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from feature_repo.aggregates.ranking_state import STATE_WIDTH, Key
from feature_repo.as_of import last_before
from feature_repo.blocks import States


@dataclass(frozen=True)
class StateTable:
    """All states of one kind of key, sorted by (id, updated_at)."""

    ids: np.ndarray  # int64 (m,)
    states: States  # m

    def as_of(self, ids: np.ndarray, now_us: np.ndarray) -> States:
        """The newest state of each id strictly before its moment; ids, now_us: (n,)."""
        return self.states.take(last_before(self.ids, self.states.updated_at, ids.astype(np.int64), now_us))

    def before(self, moment_us: int) -> StateTable:
        """The states older than `moment_us`."""
        kept = self.states.updated_at < moment_us
        return StateTable(self.ids[kept], States(self.states.state[kept], self.states.updated_at[kept]))

    def latest(self) -> tuple[np.ndarray, States]:
        """The newest state of every id, ids ascending."""
        last = np.flatnonzero(np.diff(self.ids, append=self.ids[-1:] + 1)) if len(self.ids) else np.zeros(0, np.int64)
        return self.ids[last], self.states.take(last)


def read_state_table(file: Path, key: Key) -> StateTable:
    """Read what `aggregates.batch.write_states` wrote for `key`."""
    table = pq.read_table(file, columns=[key.column, "updated_at", "state"])
    packed = table["state"].combine_chunks()
    return StateTable(
        ids=table[key.column].to_numpy().astype(np.int64),
        states=States(
            packed.flatten().to_numpy().astype(np.float32, copy=False).reshape(-1, STATE_WIDTH),
            table["updated_at"].to_numpy().astype(np.int64),
        ),
    )
