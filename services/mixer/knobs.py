"""What an experiment may turn for some users: the settings that a page is made with, each with its bounds."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.ranking.weights import DEFAULT_PRESET, WeightError, WeightPreset, preset_named


class KnobError(ValueError):
    """A knob is unknown or beyond its bounds; the message names it, the value, and what it may be."""


class Knobs(BaseModel):
    """One set of them. The defaults are what everybody gets who is in no experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str | None = Field(None, description="Weight preset of requests that name none.")
    head_weights: dict[str, float] = Field({}, description="Weights of single actions, in place of the preset's.")
    author_decay: float = Field(
        0.5, ge=0, le=1, description="Factor by which an author's every further post is lowered (the-algorithm, home-mixer)."
    )
    author_floor: float = Field(0.25, ge=0, le=1, description="Share of its score that a post keeps at least.")
    author_share: float = Field(0.15, gt=0, le=1, description="Share of a page that one author may hold.")
    ranked: int = Field(300, ge=20, le=1_500, description="Candidates that the heavy ranker sees.")

    @model_validator(mode="after")
    def _are_weights(self) -> Self:
        try:
            preset = preset_named(self.weights or DEFAULT_PRESET).tuned(self.head_weights)
            if not any(preset.weights.values()):
                raise WeightError("head_weights weigh nothing: all posts would have one score")
        except WeightError as error:
            raise ValueError(str(error)) from error
        return self

    def preset(self, asked: str | None, default: str) -> WeightPreset:
        """The weights of a request that asks for preset `asked`, of a release whose own is `default`."""
        preset = preset_named(asked or self.weights or default)
        return preset.tuned(self.head_weights) if self.head_weights else preset


USUAL = Knobs()


def knobs_of(changes: dict[str, object]) -> Knobs:
    """The usual knobs with `changes`. Raises KnobError."""
    try:
        return Knobs.model_validate(changes)
    except ValidationError as error:
        known = ", ".join(Knobs.model_fields)
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'knobs'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False)
        )
        raise KnobError(f"{wrong}; knobs are {known}") from error
