"""State tables on disk: written by the batch engine, read back as sorted columns for as-of questions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_repo.aggregates.ranking_state import STATE_WIDTH, Key
from feature_repo.as_of import last_before
from feature_repo.blocks import States
from feature_repo.column_files import ColumnFiles, mapped

_COLUMNS = ("ids", "state", "updated_at")


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


def read_state_table(states: Path, key: Key) -> StateTable:
    """Read what `aggregates.batch.write_states` wrote for `key` to the folder `states`."""
    with pa.ipc.open_file(states / key.file) as file:
        table = file.read_all()
    ids, state, updated_at = _arrays(table[key.column], table["state"].combine_chunks(), table["updated_at"])
    return StateTable(ids, States(state, updated_at))


def map_state_table(states: Path, key: Key, folder: Path) -> StateTable:
    """`read_state_table`, its arrays mapped from files in `folder` that this writes; only some rows are in memory at once."""
    with ColumnFiles(folder) as columns, pa.ipc.open_file(states / key.file) as file:
        read = (file.get_batch(place) for place in range(file.num_record_batches))
        empty = _arrays(pa.array([], pa.int64()), pa.array([], pa.list_(pa.float32())), pa.array([], pa.int64()))
        for arrays in chain([empty], (_arrays(part[key.column], part["state"], part["updated_at"]) for part in read)):
            columns.append({f"{key.value}.{name}": array for name, array in zip(_COLUMNS, arrays, strict=True)})
    ids, state, updated_at = (mapped(folder / f"{key.value}.{name}.npy") for name in _COLUMNS)
    return StateTable(ids, States(state, updated_at))


def _arrays(
    ids: pa.Array | pa.ChunkedArray, state: pa.Array, updated_at: pa.Array | pa.ChunkedArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids int64 (m,), states float32 (m, STATE_WIDTH), updated_at int64 (m,)."""
    packed = state.flatten().to_numpy().astype(np.float32, copy=False).reshape(-1, STATE_WIDTH)
    return ids.to_numpy().astype(np.int64), packed, updated_at.to_numpy().astype(np.int64)
