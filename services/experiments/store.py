"""The experiments in the platform's database: started, stopped, and never deleted."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Integer, RowMapping, String, Table, Text, insert, select, update

from infra.database import create_tables, lock_table, metadata, open_engine, read_transaction, write_transaction
from services.experiments.assignment import Experiment, room_in
from services.releases.split import BUCKETS

EXPERIMENTS = Table(
    "experiments",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("layer", String(64), nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("knobs", Text, nullable=False),
    Column("started_at", String(40), nullable=False),
    Column("started_by", String(200), nullable=False),
    Column("why", Text, nullable=False),
    Column("stopped_at", String(40)),
    Column("stopped_by", String(200)),
    Column("stopped_why", Text),
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


class ExperimentError(ValueError):
    """An experiment can't be started or stopped; the message says why and what to do."""


class Experiments:
    """The experiments in the database at `url`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, EXPERIMENTS.name)

    def start(self, name: str, layer: str, share: float, knobs: dict[str, Any], *, actor: str, why: str) -> Experiment:
        """Begin an experiment on a `share` of all users, 0..1, half of whom get `knobs`.

        Raises KnobError, and ExperimentError where its layer has no room left, or the name was used before.
        """
        from services.mixer.knobs import knobs_of

        for what, text in (("name", name), ("layer", layer)):
            if not _NAME.fullmatch(text):
                raise ExperimentError(f"{what} {text!r}: use 1-48 of a-z, 0-9, '.', '_' and '-'")
        wanted = round(share * BUCKETS) if math.isfinite(share) else 0
        if not 2 <= wanted <= BUCKETS:
            raise ExperimentError(f"share {share:g}: give a share of the users from {2 / BUCKETS:g} to 1")
        if not knobs:
            raise ExperimentError("nothing to try: name at least one knob that the treatment turns")
        if not actor.strip() or not why.strip():
            raise ExperimentError("who starts it and why must be said")
        knobs_of(knobs)
        with write_transaction(self._engine) as connection:
            lock_table(connection, EXPERIMENTS.name)
            known = [_experiment(row) for row in connection.execute(select(EXPERIMENTS)).mappings()]
            if any(one.name == name for one in known):
                raise ExperimentError(f"there was an experiment {name!r} already: its outcomes are kept under that name")
            beside = [one for one in known if one.layer == layer and one.stopped_at is None]
            first = room_in(beside, wanted)
            if first is None:
                taken = ", ".join(f"{one.name} {one.share:.0%}" for one in beside)
                raise ExperimentError(
                    f"layer {layer!r} has no room for {share:.0%} of the users: {taken}; stop one, or ask for less"
                )
            _refuse_knobs_in_use(knobs, [one for one in known if one.layer != layer and one.stopped_at is None])
            row = {
                "name": name,
                "layer": layer,
                "first": first,
                "last": first + wanted,
                "knobs": json.dumps(knobs, sort_keys=True),
                "started_at": _now(),
                "started_by": actor,
                "why": why,
            }
            connection.execute(insert(EXPERIMENTS).values(**row))
        return self.of(name)

    def stop(self, name: str, *, actor: str, why: str) -> Experiment:
        """End an experiment: everybody gets the usual settings again. Its outcomes stay. Raises ExperimentError."""
        if not actor.strip() or not why.strip():
            raise ExperimentError("who stops it and why must be said")
        with write_transaction(self._engine) as connection:
            values = {"stopped_at": _now(), "stopped_by": actor, "stopped_why": why}
            runs = (EXPERIMENTS.c.name == name, EXPERIMENTS.c.stopped_at.is_(None))
            stopped = connection.execute(update(EXPERIMENTS).where(*runs).values(**values)).rowcount
        one = self.of(name)
        if not stopped:
            raise ExperimentError(f"experiment {name!r} was stopped at {str(one.stopped_at)[:19]} by {one.stopped_by}")
        return one

    def of(self, name: str) -> Experiment:
        """Raises ExperimentError for a name that there is not."""
        if found := self._read(EXPERIMENTS.c.name == name):
            return found[0]
        raise ExperimentError(f"there is no experiment {name!r}; `mixer experiment list` shows those there are")

    def all(self) -> list[Experiment]:
        """Every experiment, the newest first."""
        return self._read()

    def running(self) -> tuple[Experiment, ...]:
        """Those that were not stopped. The gateway asks several times a second: what was stopped is not read."""
        return tuple(self._read(EXPERIMENTS.c.stopped_at.is_(None)))

    def _read(self, *conditions: ColumnElement[bool]) -> list[Experiment]:
        statement = select(EXPERIMENTS).where(*conditions).order_by(EXPERIMENTS.c.started_at.desc())
        with read_transaction(self._engine) as connection:
            rows = connection.execute(statement).mappings().all()
        return [_experiment(row) for row in rows]


def _refuse_knobs_in_use(knobs: dict[str, Any], others: list[Experiment]) -> None:
    """A user may be in experiments of two layers: one knob can't have two values."""
    for one in others:
        both = {"weights", "head_weights"}
        shared = set(knobs) & set(one.knobs) | (both if both & set(knobs) and both & set(one.knobs) else set())
        if shared:
            named = ", ".join(sorted(shared))
            raise ExperimentError(
                f"experiment {one.name!r} of layer {one.layer!r} turns {named} already, and users may be in both: start it in "
                f"layer {one.layer!r}, or stop {one.name!r}"
            )


def _experiment(row: RowMapping) -> Experiment:
    return Experiment(**{**row, "knobs": json.loads(row["knobs"])})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
