"""What a training may cost where somebody waits for it: the guided tour's. Scheduled trainings have no limits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainingLimits(BaseModel):
    """Limits of one training; None leaves a thing as the settings have it.

    `seconds` decides how many exposures are learned from, by the speed that was measured on this machine; the rest are options
    of the recipe. Flows take it as a parameter, so that a run's page shows what was cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float | None = Field(None, gt=0)  # that fitting may take
    judged_rows: int | None = Field(None, ge=1)  # most test exposures that models are compared on, about
    epochs: int | None = Field(None, ge=1)
    members: int | None = Field(None, ge=1)
    teacher_share: float | None = Field(None, ge=0, le=1)
    ensemble: bool | None = None
    baselines: bool = True  # compare with boosted trees too

    def options(self) -> dict[str, int | float | bool]:
        """The recipe's options that are limited."""
        return self.model_dump(include={"epochs", "members", "teacher_share", "ensemble"}, exclude_none=True)
