"""The component kinds of the pipeline. A component is small, typed, pure, and never loops over candidates.

Every component declares its name, what it reads and writes, its deadline and what happens when it fails; the engine does
the rest. `needs` are query features, `reads` and `writes` are candidate columns (query features for a query hydrator).
Components must not change their inputs: after a deadline a late call runs on, and its result is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from services.mixer.candidates import Candidates, Column
from services.mixer.query import Query

if TYPE_CHECKING:
    from services.mixer.engine import Result

# open: the request goes on without the component. closed: nothing that the component did not vouch for is shown.
FailurePolicy = Literal["open", "closed"]


class Component:
    """Declarations shared by all kinds, with the defaults of a component that reads and writes nothing."""

    name: str = ""
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    # Pure array work on the candidates runs where it stands: it waits for nothing, so it has no deadline, and handing it to a
    # thread costs more than most of it. What waits (stores, sockets) or computes for long outside Python (models) does not.
    inline: bool = False
    deadline_ms: float = 200.0  # of a component that is not inline
    on_failure: FailurePolicy = "open"


@runtime_checkable
class QueryHydrator(Protocol):
    """Adds features of the user and the request; hydrators run in parallel as far as their needs allow."""

    name: str
    needs: tuple[str, ...]
    writes: tuple[str, ...]
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def hydrate_query(self, query: Query) -> Mapping[str, Any]: ...


@runtime_checkable
class Source(Protocol):
    """Proposes candidates, best first; all sources run in parallel."""

    name: str
    needs: tuple[str, ...]
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def fetch(self, query: Query) -> Candidates: ...


@runtime_checkable
class CandidateHydrator(Protocol):
    """Adds columns; neighbouring hydrators run in parallel as far as their reads allow."""

    name: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def hydrate(self, query: Query, candidates: Candidates) -> Mapping[str, Column]: ...


@runtime_checkable
class Filter(Protocol):
    """Says which candidates stay: bool (n,). Its name is the rule that a removed candidate is told."""

    name: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray: ...


@runtime_checkable
class Scorer(Protocol):
    """Adds or replaces score columns. `score`, float64, is what the selector and later scorers go by."""

    name: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]: ...


@runtime_checkable
class Selector(Protocol):
    """Orders candidates for the page: int (m,) rows, best first, m <= n. The first `count` are shown, the rest is reserve."""

    name: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def select(self, query: Query, candidates: Candidates) -> np.ndarray: ...


@runtime_checkable
class SideEffect(Protocol):
    """Runs after the response is on its way; its failure is counted and changes nothing for the user."""

    name: str
    inline: bool
    deadline_ms: float
    on_failure: FailurePolicy

    def run(self, result: Result) -> None: ...


Step = CandidateHydrator | Filter | Scorer
