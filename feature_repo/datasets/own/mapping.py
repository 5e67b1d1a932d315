"""`mapping.yaml`: which columns of your files stand for which columns of the contracts, and what your values mean.

Every key is optional: files that already have the contracts' columns need no mapping. Unknown keys are refused.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from feature_repo.contracts import Action, EdgeKind
from feature_repo.datasets.adapter import MalformedFile
from feature_repo.surfaces import check_surface

FILE_NAME = "mapping.yaml"

# Columns of each table as a mapping names them; `surface` is the contract's `product`.
EventColumn = Literal[
    "event_id", "user_id", "post_id", "author_id", "action", "value", "surface", "position", "release", "propensity",
    "request_id", "occurred_at",
]  # fmt: skip
PostColumn = Literal[
    "post_id", "author_id", "created_at", "topics", "media", "duration_ms", "language", "text", "in_reply_to", "embedding"
]
UserColumn = Literal["user_id", "created_at", "language", "followers", "following", "attributes"]
EdgeColumn = Literal["user_id", "target_id", "kind", "weight", "created_at"]

Kind = Literal["opened", "completed", "liked", "disliked"]

CONTRACT_ACTIONS = tuple(action.value for action in Action)
NAMED_ACTIONS = tuple(action.value for action in Action if not action.value.startswith("own_"))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActionRule(Strict):
    """What one of your actions is called here; for a column of numbers also from where to where it counts."""

    action: str = Field(description="An action of the contract, or `own` for one that it does not have.")
    name: str | None = Field(None, min_length=1, max_length=64, description="Name of an `own` action, as `play`.")
    kind: Kind = Field("opened", description="What an `own` action says: opened, completed, liked or disliked.")
    at_least: float | None = Field(None, description="Counts where the column's number is this or more.")
    at_most: float | None = Field(None, description="Counts where the column's number is this or less.")
    value: bool = Field(False, description="True: the column's number is the event's value (milliseconds of dwell).")

    @model_validator(mode="after")
    def _known(self) -> ActionRule:
        if self.action == "own":
            if self.name is None:
                raise ValueError("an `own` action needs a name, as {action: own, name: play, kind: completed}")
            if self.name in CONTRACT_ACTIONS:
                raise ValueError(
                    f"an `own` action may not be named {self.name!r}, as an action of the contract is; write `action: "
                    f"{self.name}` if you mean that one, or name yours otherwise, as `my {self.name}`"
                    if self.name in NAMED_ACTIONS
                    else f"an `own` action may not be named {self.name!r}, as one of the platform's slots is; name it otherwise"
                )
        elif self.action not in NAMED_ACTIONS:
            raise ValueError(f"{self.action!r} is no action; choose from {', '.join(NAMED_ACTIONS)}, or own with a name")
        return self


def _as_rule(value: Any) -> Any:
    return {"action": value} if isinstance(value, str) else value


def _as_rules(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


Rule = Annotated[ActionRule, BeforeValidator(_as_rule)]
Rules = Annotated[list[Rule], BeforeValidator(_as_rules)]
Names = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class TimeMapping(Strict):
    """How the times of one table are written."""

    format: str = Field("auto", description="auto, iso, s, ms, us, ns, or a strptime format as %d/%m/%Y %H:%M.")
    zone: str = Field("UTC", description="Time zone of times that name none, as Europe/Paris.")

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in ("auto", "iso", "s", "ms", "us", "ns") and "%" not in value:
            raise ValueError(f"{value!r} is none of auto, iso, s, ms, us, ns and no strptime format as %d/%m/%Y %H:%M")
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is no time zone; give one as Europe/Paris or UTC") from error
        return value


def _as_time(value: Any) -> Any:
    return {"format": value} if isinstance(value, str) else value


Time = Annotated[TimeMapping, BeforeValidator(_as_time)]


class FilesMapping(Strict):
    """Where a table's rows are and how its files are written."""

    files: Names = Field([], description="Names or patterns beside the mapping; none: <table>.csv, .parquet, ...")
    delimiter: str | None = Field(None, min_length=1, max_length=4, description="Of CSV files; unset: found from the header.")
    header: list[str] | None = Field(None, description="Column names of CSV files that have no header line.")
    time: Time = Field(TimeMapping(), description="How times are written: a format, or {format: ..., zone: ...}.")


class EventsMapping(FilesMapping):
    """Events: who did what to which post, when."""

    columns: dict[EventColumn, str | None] = Field({}, description="Our column: yours. null leaves ours out.")
    action: Rule | None = Field(None, description="The action of every row, where there is no column for it.")
    actions: dict[str, Rule | None] = Field({}, description="Value of the action column: our action. null skips such rows.")
    action_columns: dict[str, Rules] = Field({}, description="A column of 0/1, counts or ratings: our action where above 0.")
    surface: str | None = Field(None, min_length=1, max_length=64, description="Surface of every row, where no column has it.")
    value_times: float = Field(1.0, gt=0, description="Factor of every `value`, as 1000 where it is seconds.")
    impressions: Literal["auto", "action", "rows", "none"] = Field(
        "auto",
        description="What an impression is: `action`: rows of that action; `rows`: every row; `none`: none is there, so they "
        "are derived; `auto`: `action` where the file has such rows, else `none`.",
    )

    @field_validator("surface")
    @classmethod
    def _free_surface(cls, value: str | None) -> str | None:
        if value is not None:
            check_surface(value)
        return value

    @field_validator("actions", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        # YAML reads 1, true and yes as no text; the files' cells are compared as text.
        return {_cell_text(key): rule for key, rule in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one_action(self) -> EventsMapping:
        if self.action is not None and self.columns.get("action"):
            raise ValueError("`action` and `columns.action` are both given; keep the one that is right")
        return self


def _cell_text(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


class PostsMapping(FilesMapping):
    """Posts (items, articles, tracks): what is shown."""

    columns: dict[PostColumn, str | None] = Field({}, description="Our column: yours. null leaves ours out.")
    topics_separator: str | None = Field(None, min_length=1, description="Between topics of one cell, as |.")
    media: str | None = Field(None, description="Kind of every post where no column has it, as video.")
    duration_times: float = Field(1.0, gt=0, description="Factor to milliseconds, as 1000 where durations are seconds.")


class UsersMapping(FilesMapping):
    """Users: who looks."""

    columns: dict[UserColumn, str | None] = Field({}, description="Our column: yours. null leaves ours out.")
    attributes: Names = Field([], description="Columns that are attributes of a user by name, as country.")


class EdgesMapping(FilesMapping):
    """Edges: who follows, blocks or mutes whom."""

    columns: dict[EdgeColumn, str | None] = Field({}, description="Our column: yours. null leaves ours out.")
    kind: EdgeKind = Field(EdgeKind.FOLLOW, description="Kind of every edge where no column has it.")


class Mapping(Strict):
    """The whole of `mapping.yaml`."""

    events: EventsMapping = EventsMapping()
    posts: PostsMapping | None = None
    users: UsersMapping | None = None
    edges: EdgesMapping | None = None
    authors: Literal["users", "apart"] = Field(
        "users", description="`users`: author 7 and user 7 are one account; `apart`: they are two."
    )
    earliest: date = Field(date(1990, 1, 1), description="First plausible day; a row of an earlier time is refused.")
    negatives: int = Field(4, ge=0, le=50, description="Posts sampled beside each derived impression; 0 = none.")
    seed: int = Field(7, ge=0, description="Seed of the sampled posts.")
    day_offset_hours: float = Field(0.0, ge=-12, le=14, description="Hours from UTC of the midnight that parts the days.")


def read_mapping(file: Path) -> Mapping:
    """The mapping in `file`; raises MalformedFile that names the key and says what is wrong."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MalformedFile(file, f"not readable as YAML: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, dict):
        raise MalformedFile(file, f"holds a {type(content).__name__}; a mapping of keys such as `events:` is needed")
    try:
        return Mapping.model_validate(content or {})
    except ValidationError as error:
        raise MalformedFile(file, "; ".join(_told(one) for one in error.errors())) from error


def _told(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        return f"{place} is no key of a mapping; docs/own-data.md lists them"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" + (f", not {problem['input']!r}" if problem["type"] != "value_error" else "")
