"""What the judge is asked to tolerate, as data: `policy.yaml` beside this file is the default."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

MetricName = Literal[
    "engagement", "log_loss", "failed", "empty", "not_numbers", "short", "disliked", "latency_p95", "author_share", "age_hours"
]
Chance = Field(gt=0, lt=0.5)
DEFAULT = Path(__file__).with_name("policy.yaml")


class MetricPolicy(BaseModel):
    """One metric's part in the decision. `log_loss` stands for every head that decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: MetricName
    label: str = Field(min_length=1, description="As people read it.")
    role: Literal["decides", "guards", "signals"]
    scale: Literal["relative", "absolute", "ratio"]
    better: Literal["lower", "higher"]
    margin: float = Field(gt=0, description="The worsening that is tolerated, in `scale`; a ratio lies above 1.")
    resolution: float | None = Field(None, gt=0, description="A worsening that may not go unseen at the last step.")
    prior: float = Field(gt=0, description="The worsening that the bounds are tuned for.")
    settle_s: float = Field(0.0, ge=0, description="First seconds of a rollout in which it only holds, and rolls nothing back.")
    dry_run: bool = Field(False, description="Judged and shown, with no effect.")

    @model_validator(mode="after")
    def _fits_its_scale(self) -> Self:
        if self.scale == "ratio":
            for field in ("margin", "resolution", "prior"):
                if getattr(self, field) is not None and getattr(self, field) <= 1:
                    raise ValueError(
                        f"{field} of {self.name} is {getattr(self, field)}; a ratio that is tolerated lies above 1"
                    )
            if self.better != "lower":
                raise ValueError(f"{self.name} is a ratio, of which only the lower can be the better one")
        if (self.name == "latency_p95") and self.scale != "ratio":
            raise ValueError(f"scale of latency_p95 is {self.scale}; quantiles are compared as a ratio")
        if self.name == "log_loss" and self.scale != "relative":
            raise ValueError(f"scale of log_loss is {self.scale}; losses are compared relative to the live release's")
        if (self.resolution is None) != (self.role == "signals"):
            raise ValueError(f"{self.name} {self.role}; a metric has a resolution unless it only signals")
        if self.resolution is not None and self.resolution < self.margin:
            raise ValueError(f"resolution of {self.name} is {self.resolution}, finer than its margin of {self.margin}")
        return self

    def inner(self, value: float) -> float:
        """`value` in the scale that is computed with: a ratio's logarithm, anything else as it is."""
        return math.log(value) if self.scale == "ratio" else value

    @property
    def null(self) -> float:
        """The difference of two releases that are alike."""
        return 1.0 if self.scale == "ratio" else 0.0

    @property
    def limit(self) -> float:
        """The worst difference that is tolerated."""
        return self.margin if self.scale == "ratio" else self.sign * self.margin

    @property
    def sign(self) -> float:
        """1 where more is worse, -1 where less is."""
        return 1.0 if self.better == "lower" else -1.0


class JudgePolicy(BaseModel):
    """Error rates, patience and metrics of one canary. policy.yaml says what each field does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Chance
    promote_alpha: float = Chance
    power: float = Field(gt=0.5, lt=1)
    signal_alpha: float = Chance
    ratio_alpha: float = Chance
    warm_up_s: float = Field(ge=0)
    min_users: int = Field(ge=2)
    min_users_to_roll_back: int = Field(ge=2)
    patience: float = Field(ge=0, le=1)
    max_deciding_heads: int = Field(ge=1)
    least_positives: int = Field(ge=1)
    heads: tuple[str, ...] = ()
    metrics: tuple[MetricPolicy, ...] = Field(min_length=1)
    own_actions: dict[str, str] = Field({}, description="Own actions by name, each with its head: for labels; not in the file.")

    @field_validator("metrics")
    @classmethod
    def _once_each(cls, metrics: tuple[MetricPolicy, ...]) -> tuple[MetricPolicy, ...]:
        names = [metric.name for metric in metrics]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"metrics names {', '.join(twice)} more than once")
        if not any(metric.role == "decides" and not metric.dry_run for metric in metrics):
            raise ValueError("metrics has none that decides; without one nothing goes live")
        return metrics

    @staticmethod
    def default() -> JudgePolicy:
        """The policy that ships with the code."""
        return _default()

    @staticmethod
    def from_yaml(path: Path | str) -> JudgePolicy:
        """The policy in a file like policy.yaml. A field that the file leaves out is the default policy's.

        Raises ValueError, which names the file and each field that is wrong.
        """
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"{path} holds no policy; start from a copy of {DEFAULT}")
        kept = {} if Path(path) == DEFAULT else JudgePolicy.default().model_dump()
        try:
            return JudgePolicy.model_validate(kept | content)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ValueError(f"{path}: {wrong}") from error

    def alpha_of(self, metric: MetricPolicy) -> float:
        """A metric's own chance of a false alarm, over all looks.

        Metrics in dry run have their part too: taking one into service changes nothing for the others.
        """
        if metric.role == "signals":
            return self.signal_alpha
        slots = sum(self.max_deciding_heads if one.name == "log_loss" else 1 for one in self.metrics if one.role == metric.role)
        return self.alpha / 2 / slots


@cache
def _default() -> JudgePolicy:
    return JudgePolicy.from_yaml(DEFAULT)


def policy_of(path: Path | None) -> JudgePolicy:
    """The policy in the file at `path`, the one that ships with the code where there is none. Raises ValueError."""
    return JudgePolicy.default() if path is None else JudgePolicy.from_yaml(path)
