"""The stream engine: every family's cells in memory, folded forward by micro-batches of new events."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from feature_repo.aggregates.cell_table import CellTable, Updates
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF, Family
from feature_repo.aggregates.stream_events import StreamEvents

# The most cells a family may hold. Address space only: memory is taken as rows come.
MOST_CELLS = 1 << 26

# Families in the order in which threads take them: the costly ones (many keys, cold memory) first.
_BY_COST = sorted(FAMILIES, key=lambda family: -len(family.ids) - ("user_id" in family.ids))


class StreamEngine:
    """All families of the catalogue. The result does not depend on the events' order or batching, up to rounding."""

    def __init__(self, threads: int = 2, most_cells: int = MOST_CELLS) -> None:
        self.tables = {family.name: CellTable(family.name, most_cells) for family in FAMILIES}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="cells")

    def fold(self, events: StreamEvents) -> None:
        """Apply events, none of which was applied before."""
        self._fold_families(events, _BY_COST)

    def fold_topics(self, events: StreamEvents) -> None:
        """Apply events that were applied when their posts' topics were not known yet: to the families of topics alone."""
        self._fold_families(events, [family for family in _BY_COST if "topic" in family.ids])

    def _fold_families(self, events: StreamEvents, families: Sequence[Family]) -> None:
        updates = events.updates()
        folded = self._threads.map(lambda family: self._fold(family, events, updates), families)
        created = dict(zip((family.name for family in families), folded, strict=True))
        for family in FAMILIES:
            for place, name in enumerate(family.distinct):
                if name not in created:
                    continue
                second = FAMILY_OF[name].ids.index(family.ids[0]) == 1
                self.tables[family.name].meet(self.tables[name], created[name], second=second, place=place)

    def _fold(self, family: Family, events: StreamEvents, updates: Updates) -> np.ndarray:
        first, second = events.ids[family.ids[0]], events.ids[family.ids[1]] if len(family.ids) > 1 else None
        return self.tables[family.name].apply(updates, first, second, events.skipped(family))

    def shown_rows(self) -> dict[str, np.ndarray]:
        """Cells touched since the last call: family -> row numbers."""
        return {name: table.shown_rows() for name, table in self.tables.items()}

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown()
