"""A product: one declared list of components, checked when it is put together, not when it is first asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from services.mixer.candidates import BASE_COLUMNS
from services.mixer.components import (
    CandidateHydrator,
    Component,
    Filter,
    QueryHydrator,
    Scorer,
    Selector,
    SideEffect,
    Source,
    Step,
)


class PipelineError(ValueError):
    """A product's components do not fit together; the message names the component and what it lacks."""


@dataclass(frozen=True)
class Pipeline:
    """A product. `steps` run in order; neighbouring hydrators run side by side. `late_filters` see only the chosen page."""

    name: str
    query_hydrators: tuple[QueryHydrator, ...]
    sources: tuple[Source, ...]
    steps: tuple[Step, ...]
    selector: Selector
    late_filters: tuple[Filter, ...] = ()
    side_effects: tuple[SideEffect, ...] = ()

    def __post_init__(self) -> None:
        for name, uses in Counter(component.name for component in self.components()).items():
            if uses > 1 or not name:
                raise PipelineError(f"{self.name}: {uses} components are named {name!r}; give each its own name")
        features = {feature for wave in self.query_waves for hydrator in wave for feature in hydrator.writes}
        columns = set(BASE_COLUMNS)
        for group in self.step_groups:
            for component in group:
                self._check(component, features, columns)
            columns.update(column for component in group for column in getattr(component, "writes", ()))
        for component in (*self.sources, self.selector, *self.late_filters):
            self._check(component, features, columns)

    @cached_property
    def query_waves(self) -> list[tuple[QueryHydrator, ...]]:
        return waves(self.query_hydrators, ())

    @cached_property
    def step_groups(self) -> list[tuple[Step, ...]]:
        return step_groups(self.steps)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Component name -> its kind in words."""
        return {component.name: kind_of(component) for component in self.components()}

    def components(self) -> tuple[Component, ...]:
        """Every component, in the order in which the engine meets them."""
        return (
            *self.query_hydrators,
            *self.sources,
            *self.steps,
            self.selector,
            *self.late_filters,
            *self.side_effects,
        )

    def _check(self, component: Component, features: set[str], columns: set[str]) -> None:
        lacking = [name for name in component.needs if name not in features]
        lacking += [name for name in getattr(component, "reads", ()) if name not in columns]
        if lacking:
            raise PipelineError(f"{self.name}: {component.name} reads {lacking}, which nothing before it writes")


def step_groups(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Steps in the order of running: a wave of hydrators that can run side by side, or one filter or scorer alone."""
    groups: list[tuple[Step, ...]] = []
    for hydrators, run in groupby(steps, key=lambda step: isinstance(step, CandidateHydrator)):
        if hydrators:
            groups.extend(waves(tuple(run), None))
        else:
            groups.extend((step,) for step in run)
    return groups


def waves(components: Sequence[Component], available: Iterable[str] | None) -> list[tuple[Component, ...]]:
    """Part components into waves so that each runs after whatever writes what it reads.

    With `available` None, inputs that none of `components` writes count as present (an earlier step writes them).
    Raises PipelineError on a cycle or an input that nobody writes.
    """
    written = {name for component in components for name in component.writes}
    ready = None if available is None else set(available)
    done: set[str] = set()
    waiting, ordered = list(components), []
    while waiting:
        wave = tuple(c for c in waiting if all(_met(name, written, done, ready) for name in _inputs(c)))
        if not wave:
            names = [component.name for component in waiting]
            raise PipelineError(f"{names} wait for each other or for inputs that nothing writes")
        ordered.append(wave)
        done.update(name for component in wave for name in component.writes)
        waiting = [component for component in waiting if component not in wave]
    return ordered


def _inputs(component: Component) -> tuple[str, ...]:
    return (*component.needs, *getattr(component, "reads", ()))


def _met(name: str, written: set[str], done: set[str], ready: set[str] | None) -> bool:
    if name in done:
        return True
    if ready is None:
        return name not in written
    return name in ready


def kind_of(component: Component) -> str:
    """The component's kind in words, for funnels and metrics."""
    kinds = {
        "query hydrator": QueryHydrator,
        "source": Source,
        "candidate hydrator": CandidateHydrator,
        "filter": Filter,
        "scorer": Scorer,
        "selector": Selector,
        "side effect": SideEffect,
    }
    return next(word for word, kind in kinds.items() if isinstance(component, kind))
