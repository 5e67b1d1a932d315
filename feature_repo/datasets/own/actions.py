"""Your actions as ours: by the value of a column, by columns of 0 and 1, counts or ratings, or one for every row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from feature_repo.contracts import Action
from feature_repo.datasets.own.mapping import NAMED_ACTIONS, ActionRule, EventsMapping
from feature_repo.datasets.own.number_columns import cast_number
from feature_repo.datasets.own.reasons import Reasons
from feature_repo.heads import OWN_SLOTS
from feature_repo.ids import IdTable

IMPRESSION = Action.IMPRESSION.value

# What a cell of an action column may say instead of 1 or 0, in any case of letters. An empty cell says nothing happened.
WORDS = {
    **dict.fromkeys(("true", "yes", "y", "t", "on", "x"), 1.0),
    **dict.fromkeys(("false", "no", "n", "f", "off"), 0.0),
}


class ActionError(ValueError):
    """The mapping declares more actions of its own than there are slots, or than are free."""


@dataclass(frozen=True)
class OwnAction:
    """An action of the dataset: its slot in the contract, its name, and what it says about its user."""

    slot: str
    name: str
    kind: str


@dataclass(frozen=True)
class Happened:
    """What one rule of the mapping says of the n rows of a batch."""

    holds: pl.Series  # Boolean (n,): rows of which the rule says that something happened
    action: pl.Series | str  # String (n,), or one for all rows
    value: pl.Series | None = None  # Float64 (n,) of the events, where the rule's column is the value
    column: str | None = None  # of the files, where the rule is of one


def rules_of(mapping: EventsMapping) -> Iterable[ActionRule]:
    """Every rule of the mapping."""
    yield from (rule for rule in mapping.actions.values() if rule is not None)
    for rules in mapping.action_columns.values():
        yield from rules
    if mapping.action is not None:
        yield mapping.action


def declared_own_actions(mapping: EventsMapping, ids: IdTable) -> tuple[OwnAction, ...]:
    """The dataset's own actions with their slots; a name keeps its slot for ever. Raises ActionError."""
    named: dict[str, dict[str, None]] = {}
    for rule in rules_of(mapping):
        if rule.name is not None and rule.action == "own":
            named.setdefault(rule.kind, {})[rule.name] = None
    found = []
    for kind, names in named.items():
        slots, given = OWN_SLOTS[kind], ids.all_names(f"own_action:{kind}")
        wanted = [*given, *sorted(set(names) - set(given))]
        if len(wanted) > len(slots):
            raise ActionError(_no_slot(kind, names, given))
        codes = ids.codes(f"own_action:{kind}", pl.Series("name", list(names)))
        found += [OwnAction(slots[code], name, kind) for name, code in zip(names, codes.to_list(), strict=True)]
    return tuple(found)


def _no_slot(kind: str, names: Iterable[str], given: list[str]) -> str:
    """Why the mapping's `names` of a kind find no slot where `given` hold theirs already."""
    slots, fresh = len(OWN_SLOTS[kind]), sorted(set(names) - set(given))
    gone = [name for name in given if name not in names]
    if not gone:
        return (
            f"there are {slots} slots for own actions of kind {kind}, and {', '.join([*given, *fresh])} want one each; "
            "give one another kind, or map it to an action of the contract"
        )
    return (
        f"{', '.join(fresh)}: no slot is free for an own action of kind {kind}. There are {slots}, a name keeps its slot for "
        f"ever, and in this home {', '.join(given)} hold them; the mapping no longer names {', '.join(gone)}. Take the old "
        "name again, give the new one another kind, or ingest into a new home (set MIXER_HOME to another folder)"
    )


class ActionReader:
    """Turns each row into no, one or several events."""

    def __init__(self, mapping: EventsMapping, own: tuple[OwnAction, ...], column: str | None) -> None:
        self.mapping = mapping
        self.column = column
        self._slots = {(one.kind, one.name): one.slot for one in own}
        # Without a mapping, a value that is an action of the contract is that action.
        plain = {} if mapping.actions else {name: name for name in NAMED_ACTIONS}
        self._by_value = plain | {key: None if rule is None else self.canonical(rule) for key, rule in mapping.actions.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the files that are read."""
        return (*([self.column] if self.column else []), *self.mapping.action_columns)

    @property
    def wide(self) -> bool:
        """Whether one row may become several events."""
        return bool(self.mapping.action_columns) or self.mapping.impressions == "rows"

    def ours(self, value: str) -> str | None:
        """The contract's action of a value of the action column; None where it is not mapped or skipped."""
        return self._by_value.get(value)

    def skipped(self, value: str) -> bool:
        return value in self._by_value and self._by_value[value] is None

    def canonical(self, rule: ActionRule) -> str:
        """The contract's action of a rule; of an own action its slot."""
        return self._slots[rule.kind, rule.name] if rule.action == "own" else rule.action

    def by_value(self, values: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Action of each value (String, null where unmapped), and whether the row is skipped on purpose."""
        text = values.cast(pl.String)
        known = {key: ours for key, ours in self._by_value.items() if ours is not None}
        if all(key == ours for key, ours in known.items()):
            ours = text if (named := text.is_in(list(known))).all(ignore_nulls=True) else text.set(~named, None)
        else:
            ours = text.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
        left_out = [key for key, rule in self._by_value.items() if rule is None]
        return ours, text.is_in(left_out).fill_null(False) if left_out else pl.repeat(False, text.len(), eager=True)

    def by_column(self, frame: pl.DataFrame, reasons: Reasons) -> list[Happened]:
        """What each rule of a column says of the rows; `reasons` gets the rows of which it can say nothing."""
        found = []
        for column, rules in self.mapping.action_columns.items():
            numbers, lost = as_numbers(frame[column])
            told = f"action column {column!r} holds neither a number nor a word such as yes or no; correct it, or map another"
            reasons.add(lost, told, column)
            for rule in rules:
                holds = numbers > 0 if rule.at_least is None and rule.at_most is None else numbers.is_not_null()
                if rule.at_least is not None:
                    holds &= numbers >= rule.at_least
                if rule.at_most is not None:
                    holds &= numbers <= rule.at_most
                value = numbers * self.mapping.value_times if rule.value else None
                found.append(Happened(holds.fill_null(False), self.canonical(rule), value, column))
        return found


def as_numbers(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Float64 (n,): numbers, 1 for true, 0 for false, null for what is neither; and Boolean (n,): where a value was neither."""
    if values.dtype == pl.Boolean:
        return values.cast(pl.Float64), pl.repeat(False, values.len(), eager=True)
    numbers, lost = cast_number(values, pl.Float64())
    if lost.any():
        numbers = numbers.set(lost, None)
        if values.dtype in (pl.String, pl.Categorical, pl.Enum):
            words = values.filter(lost).cast(pl.String).str.strip_chars().str.to_lowercase()
            read = words.replace_strict(list(WORDS), list(WORDS.values()), default=None, return_dtype=pl.Float64)
            numbers = numbers.scatter(lost.arg_true(), read)
            lost &= numbers.is_null()
    return numbers, lost
