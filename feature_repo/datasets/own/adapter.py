"""Your own events as a dataset: a folder of files and, where their columns are not the contracts', a `mapping.yaml`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import get_args

import polars as pl

from feature_repo.contracts import SplitEvents
from feature_repo.datasets.adapter import ContractTables, MalformedFile, whole_tables
from feature_repo.datasets.files_fingerprint import files_fingerprint
from feature_repo.datasets.own.actions import IMPRESSION, ActionReader, OwnAction, declared_own_actions
from feature_repo.datasets.own.authors import AuthorLookup, authors_of_rows
from feature_repo.datasets.own.columns import Columns, existing, resolved
from feature_repo.datasets.own.event_rows import DEAD_SCHEMA, SCHEMA, EventRows
from feature_repo.datasets.own.exposures import Interactions, NegativeSampler, derived_events
from feature_repo.datasets.own.files import TableFiles, find_table
from feature_repo.datasets.own.filled_tables import filled_posts, filled_users
from feature_repo.datasets.own.id_columns import IdNumbers
from feature_repo.datasets.own.mapping import (
    FILE_NAME,
    EdgesMapping,
    EventColumn,
    Mapping,
    PostsMapping,
    UsersMapping,
    read_mapping,
)
from feature_repo.datasets.own.notes import derived_and_missing, looks_wrong
from feature_repo.datasets.own.open_quotes import refuse_open_quotes
from feature_repo.datasets.own.reader import TableReader
from feature_repo.datasets.own.repeated_rows import repeated_rows, without
from feature_repo.datasets.own.seen import Seen
from feature_repo.datasets.own.side_tables import TableRows, read_edges, read_posts, read_users, refuse_missing_columns
from feature_repo.datasets.own.survey import Survey, survey_events
from feature_repo.datasets.own.times import Bounds
from feature_repo.datasets.read_ahead import read_ahead
from feature_repo.ids import IdTable

# Bumped when the same files and mapping would give other tables.
OWN_VERSION = 3

MOST_SHOWN = 60  # characters of a value in an error
MOST_DEAD = 0.5  # share of unreadable rows beyond which the mapping is taken to be wrong


@dataclass
class RowCounts:
    """What became of the rows of the events' files."""

    rows: int = 0
    events: int = 0
    dead: int = 0
    repeats: int = 0  # rows whose event_id stands in an earlier row
    skipped: int = 0  # rows that the mapping skips on purpose
    silent: int = 0  # rows in which no column said that anything happened
    derived: int = 0  # impressions derived from interactions
    sampled: int = 0  # impressions sampled beside them
    reasons: Counter[str] = field(default_factory=Counter)  # dead rows by reason
    values: dict[str, str] = field(default_factory=dict)  # the first value that broke the rule, by reason


class OwnData:
    """Adapter of one folder (or one file of events). Raises MalformedFile on first use where a column can't be read."""

    name = "own"
    simulated = False
    splits = None  # chosen from where the events are

    def __init__(
        self, place: Path, ids: IdTable, mapping: Mapping | None = None, now: datetime | None = None, limit: int | None = None
    ) -> None:
        """`mapping`: instead of that in the folder; `now`: what counts as the future; `limit`: rows of each file at most."""
        self.root = place if place.is_dir() else place.parent
        self.label = f"own events ({place.resolve().stem if place.is_file() else place.resolve().name})"
        mapping_file = self.root / FILE_NAME
        self.mapping = mapping or (read_mapping(mapping_file) if mapping_file.is_file() else Mapping())
        self._only = place.name if place.is_file() else None
        self.ids = ids
        self.bounds = Bounds.of(self.mapping.earliest, now)
        self.day_offset = timedelta(hours=self.mapping.day_offset_hours)
        self.limit = limit
        self.counts = RowCounts()
        self._seen: Seen | None = None

    @property
    def place(self) -> str:
        """The folder or file, as an absolute path."""
        return str(self.root.resolve() / (self._only or ""))

    @property
    def earliest(self) -> datetime:
        """The mapping's bound."""
        return self.bounds.earliest

    # ---- files ----------------------------------------------------------------------------------------------------
    @cached_property
    def events_table(self) -> TableFiles:
        """The files of events; raises MalformedFile where there are none."""
        mapping = self.mapping.events
        if self._only is not None and not mapping.files:
            mapping = mapping.model_copy(update={"files": [self._only]})
        table = find_table(self.root, "events", mapping)
        if table is None:
            raise MalformedFile(
                self.root / "events", "there is no such file (.csv, .tsv, .jsonl, .parquet) or folder; name yours in "
                f"a mapping, which `mixer data inspect {self.root} --write` makes"
            )  # fmt: skip
        return table

    def table(self, name: str) -> TableFiles | None:
        """The files of `posts`, `users` or `edges`, or None."""
        return find_table(self.root, name, getattr(self.mapping, name))

    def fingerprint(self) -> str:
        """Hash of the mapping and of the bytes of all files."""
        tables = [self.events_table, *(self.table(name) for name in ("posts", "users", "edges"))]
        files = [file for table in tables if table is not None for file in table.files]
        content = f"{OWN_VERSION}:{self.mapping.model_dump_json()}:{files_fingerprint(files)}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def refuse_missing(self) -> None:
        """Raise MalformedFile where there are no events, or a column that the mapping names or a row needs is not there."""
        _ = self.columns
        refuse_missing_columns(self.table, self.mapping)

    # ---- decisions about columns ----------------------------------------------------------------------------------
    @cached_property
    def reader(self) -> TableReader:
        return TableReader(self.events_table)

    @cached_property
    def columns(self) -> Columns:
        """Which column stands for which of the contract; raises MalformedFile that names what is missing."""
        mapping, found = self.mapping.events, self.reader.columns
        columns = resolved(self.events_table, found, get_args(EventColumn), mapping.columns)
        for ours in ("user_id", "post_id", "occurred_at"):
            if ours not in columns:
                raise MalformedFile(
                    self.events_table.files[0],
                    f"no column stands for {ours}; map one under `events: columns:` (found {', '.join(found)}), "
                    f"or let `mixer data inspect {self.place} --write` guess",
                    column=ours,
                )
        for theirs in mapping.action_columns:
            existing(self.events_table, found, theirs)
        if "action" in columns and mapping.action is not None:
            columns = Columns({ours: theirs for ours, theirs in columns.of.items() if ours != "action"})
        if "action" not in columns and mapping.action is None and not mapping.action_columns:
            raise MalformedFile(
                self.events_table.files[0],
                "nothing says what users did; map a column under `events: columns: action:`, or give one `action:` for "
                f"every row (found {', '.join(found)})",
                column="action",
            )
        return columns

    @cached_property
    def own_actions(self) -> tuple[OwnAction, ...]:
        """The dataset's own actions and their slots."""
        return declared_own_actions(self.mapping.events, self.ids)

    @cached_property
    def actions(self) -> ActionReader:
        return ActionReader(self.mapping.events, self.own_actions, self.columns.of.get("action"))

    @cached_property
    def survey(self) -> Survey:
        """What one reading of all rows says; its refusals are not yet raised."""
        return survey_events(self.reader, self.mapping.events, self.columns, self.actions, self.bounds, self.limit)

    @property
    def derived_impressions(self) -> bool:
        """Whether exposures are inferred from interactions."""
        declared = self.mapping.events.impressions
        return declared == "none" or (declared in ("auto", "action") and not self.survey.has_impressions)

    @property
    def sampled_negatives(self) -> int:
        """Exposures drawn beside each derived one."""
        return self.mapping.negatives if self.derived_impressions else 0

    @property
    def distinct_ids(self) -> bool:
        """Whether each event has the id of its row: given for every row, or made for every row, and of one event only."""
        if self.actions.wide or self.derived_impressions:
            return False
        return "event_id" not in self.columns or not self.survey.rows_without_id

    @property
    def repeats(self) -> int:
        """Rows of the last reading whose event_id stands in an earlier row."""
        return self.counts.repeats

    @property
    def notes(self) -> tuple[str, ...]:
        """What was derived or sampled, what can therefore not be judged, and the doubts."""
        return (*derived_and_missing(self), *self.doubts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What can be read but looks wrong; what only all events can show is said once they were read."""
        return tuple(looks_wrong(self, self._seen if self.whole else None))

    @property
    def whole(self) -> bool:
        """Whether no row of the events is left unread by `limit`."""
        return self.limit is None or self.survey.rows < self.limit

    # ---- events ---------------------------------------------------------------------------------------------------
    def event_batches(self) -> Iterator[SplitEvents]:
        """Every event once, batch by batch in file order; then those derived. Raises MalformedFile."""
        self.refuse_unreadable()
        self._record_forms()
        self.counts = counts = RowCounts()
        seen, rows = Seen(), self._event_rows()
        left_out = repeated_rows(self.reader.batches(rows.source_columns, limit=self.limit), rows, self.survey.repeated_ids) \
            if len(self.survey.repeated_ids) else {}  # fmt: skip
        counts.repeats = sum(numbers.len() for numbers in left_out.values())
        with ExitStack() as stack:
            interactions = stack.enter_context(Interactions()) if self.derived_impressions else None
            for batch in read_ahead(self.reader.batches(rows.source_columns, limit=self.limit)):
                mapped = rows.map(without(batch, left_out.get(batch.file)))
                counts.rows += batch.frame.height
                counts.skipped += mapped.skipped
                counts.silent += mapped.silent
                seen.add(mapped.events.good)
                if interactions is not None:
                    interactions.add(mapped.events.good.filter(pl.col("action") != IMPRESSION))
                yield self._counted(mapped.events)
            yield self._counted(self._rejected())
            self._seen = seen
            self._refuse_mostly_dead()
            if interactions is not None:
                yield from self._derived(interactions)

    def refuse_unreadable(self) -> None:
        """Raise MalformedFile for the first column, of any table, that can't be read."""
        for refusal in self.survey.refusals:
            raise refusal.error(self.events_table)
        for name, rows in self._side_tables.items():
            refuse_open_quotes(self.root, rows.dead)
            for refusal in rows.refusals:
                raise refusal.error(self.table(name))

    def _event_rows(self) -> EventRows:
        return EventRows(
            self.mapping.events,
            self.columns,
            self.actions,
            self.survey.ids,
            self.survey.time,
            self.bounds,
            self._numbers,
            self._authors,
        )

    @cached_property
    def _authors(self) -> AuthorLookup:
        posts = self._side_tables.get("posts")
        known = [] if posts is None else [posts.frame]
        if self.survey.rows_without_author:  # then other rows may name the author
            known.append(authors_of_rows(self.reader, self.columns, self.survey.ids, self._numbers, self.limit))
        return AuthorLookup(self._numbers, *known)

    def _counted(self, events: SplitEvents) -> SplitEvents:
        self.counts.events += events.good.height
        self.counts.dead += events.dead.height
        if events.dead.height:
            refuse_open_quotes(self.root, events.dead)
            first = pl.col("source_value").drop_nulls().first()
            for reason, count, value in events.dead.group_by("reason", maintain_order=True).agg(pl.len(), first).iter_rows():
                self.counts.reasons[reason] += count
                if value is not None:
                    self.counts.values.setdefault(reason, value)
        return events

    def _rejected(self) -> SplitEvents:
        """Lines of CSV files that are no rows, which the reader knows once it has read all."""
        parts = [rows.with_columns(source_file=pl.lit(file)) for file, rows in self.reader.rejected.items() if rows.height]
        empty = pl.DataFrame(schema=DEAD_SCHEMA)
        self.counts.rows += sum(part.height for part in parts)
        return SplitEvents(pl.DataFrame(schema=SCHEMA), pl.concat([empty, *parts], how="diagonal").select(list(DEAD_SCHEMA)))

    def _derived(self, interactions: Interactions) -> Iterator[SplitEvents]:
        none = pl.DataFrame(schema=DEAD_SCHEMA)
        sampler = None
        if self.sampled_negatives and self.counts.events:
            sampler = NegativeSampler(self.sampled_negatives, self.mapping.seed, interactions.pairs())
        for exposures in interactions.exposures():
            derived = derived_events(exposures)
            self.counts.derived += derived.height
            yield SplitEvents(derived, none)
            if sampler is not None:
                sampled = sampler.beside(exposures)
                self.counts.sampled += sampled.height
                yield SplitEvents(sampled, none)

    def _refuse_mostly_dead(self) -> None:
        counts = self.counts
        if counts.events and counts.dead <= MOST_DEAD * counts.rows:
            return
        if not counts.dead:
            raise MalformedFile(self.events_table.files[0], "no row is an event: " + self._why_none())
        reason, rows = counts.reasons.most_common(1)[0]
        value = f", as {counts.values[reason][:MOST_SHOWN]!r}" if reason in counts.values else ""
        raise MalformedFile(
            self.events_table.files[0],
            f"{counts.dead:,} of {counts.rows:,} rows can't be read, most often ({rows:,} rows{value}) because {reason}. "
            "Correct the mapping (`mixer data check` lists the rows).",
        )

    def _why_none(self) -> str:
        if not self.counts.rows:
            return "the file has no rows"
        return "the mapping skips every row, or no action column of it is above 0"

    # ---- the other tables -----------------------------------------------------------------------------------------
    @cached_property
    def _numbers(self) -> IdNumbers:
        self.ids.set_authors_apart(self.mapping.authors == "apart")
        return IdNumbers(self.ids)

    @cached_property
    def _side_tables(self) -> dict[str, TableRows]:
        read: dict[str, TableRows] = {}
        if (posts := self.table("posts")) is not None:
            read["posts"] = read_posts(posts, self.mapping.posts or PostsMapping(), self._numbers, self.bounds)
        if (users := self.table("users")) is not None:
            read["users"] = read_users(users, self.mapping.users or UsersMapping(), self._numbers, self.bounds)
        return read

    def _record_forms(self) -> None:
        """How answers show ids of each kind: as text as soon as one table has text."""
        forms: dict[str, str] = {}
        found = [(ours.removesuffix("_id"), reading.form) for ours, reading in self.survey.ids.items()]
        found += [item for rows in self._side_tables.values() for item in rows.forms.items()]
        for kind, form in found:
            forms[kind] = "text" if "text" in (form, forms.get(kind)) else form
        for kind, form in forms.items():
            self.ids.set_form(kind, form)

    def posts(self) -> pl.DataFrame:
        """The posts of the files, and those that only events name."""
        given = self._side_tables.get("posts")
        return filled_posts(None if given is None else given.frame, self.seen, self._authors)

    def users(self) -> pl.DataFrame:
        """The users of the files, and those that only events name."""
        given = self._side_tables.get("users")
        return filled_users(None if given is None else given.frame, self.seen)

    def edges(self) -> pl.DataFrame | None:
        """The declared graph, or None."""
        rows = self.edge_rows
        if rows is None:
            return None
        refuse_open_quotes(self.root, rows.dead)
        for refusal in rows.refusals:
            raise refusal.error(self.table("edges"))
        return rows.frame

    @cached_property
    def edge_rows(self) -> TableRows | None:
        """The declared graph with what was left out of it, or None where the files have none."""
        table = self.table("edges")
        if table is None:
            return None
        since = self.seen.posts()["first"].min() or self.bounds.earliest
        return read_edges(table, self.mapping.edges or EdgesMapping(), self._numbers, self.bounds, since)

    def left_out(self) -> dict[str, pl.DataFrame]:
        """Rows of posts, users and edges that broke a rule, by table, with why and where they stand."""
        edges = {} if self.edge_rows is None else {"edges": self.edge_rows}
        return {name: rows.dead for name, rows in {**self._side_tables, **edges}.items() if rows.dead.height}

    def side_rows(self) -> dict[str, TableRows]:
        """Posts and users of the files, as read, with what was left out of them."""
        return dict(self._side_tables)

    @property
    def seen(self) -> Seen:
        """Posts and users as the events show them; reads all events where they were not read yet."""
        if self._seen is None:
            for _ in self.event_batches():
                if self._seen is not None:
                    break
        return self._seen

    def tables(self) -> ContractTables:
        """Everything in memory."""
        return whole_tables(self)
