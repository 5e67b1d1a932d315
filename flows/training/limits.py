"""Limits of a training that somebody waits for, as in the guided tour. Scheduled trainings have none."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainingLimits(BaseModel):
    """Limits of one training; with None, the settings decide.

    `seconds` sets how many exposures the training learns from, given the speed measured on this machine, but not fewer than
    `least_rows`. The others replace options of the recipe. Flows take the limits as a parameter: a run's page shows them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float | None = Field(None, gt=0)  # that fitting may take
    least_rows: int = Field(0, ge=0)  # exposures that are learned from whatever the time
    judged_rows: int | None = Field(None, ge=1)  # most test exposures that models are compared on, about
    epochs: int | None = Field(None, ge=1)
    members: int | None = Field(None, ge=1)
    teacher_share: float | None = Field(None, ge=0, le=1)
    ensemble: bool | None = None
    slates: int | None = Field(None, ge=1)  # of candidates that the light ranker learns from, and that its cut is tried on
    baselines: bool = True  # compare with boosted trees too

    def options(self) -> dict[str, int | float | bool]:
        """The recipe's options that are limited."""
        return self.model_dump(include={"epochs", "members", "teacher_share", "ensemble", "slates"}, exclude_none=True)
