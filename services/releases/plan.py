"""How a release is to be taken through its canary: the steps, how long each may take, and what the judge is asked."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.releases.states import CANARY_STEPS

LARGEST_STEP = 50.0  # beyond half of the users the control would be the smaller arm


class RolloutPlan(BaseModel):
    """What was asked for when the release was submitted. It is stored with the release and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ramp: tuple[float, ...] = Field(CANARY_STEPS, description="Per cent of users at each canary step, rising.")
    step_timeout_s: float = Field(24 * 3600.0, gt=0, description="A step without a verdict by then is given up.")
    approval_timeout_s: float = Field(48 * 3600.0, gt=0, description="A question without an answer by then is a no.")
    look_every_s: float = Field(60.0, gt=0, description="Seconds between two looks of the judge.")
    warm_up_s: float | None = Field(None, ge=0, description="First seconds of a step without a step up; default: the policy's.")
    wait_s: float | None = Field(
        None, ge=0, description="Seconds of a step in which the judge waits to become surer; default: all of it."
    )
    min_users: int | None = Field(None, ge=2, description="Users in each arm before a step up; default: the policy's.")
    deciding_heads: tuple[str, ...] = Field((), description="The only heads whose log loss may decide; none: counts choose.")

    @field_validator("ramp", mode="before")
    @classmethod
    def _default_ramp(cls, value: object) -> object:
        return value or CANARY_STEPS

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if list(self.ramp) != sorted(set(self.ramp)) or not all(0 < step <= LARGEST_STEP for step in self.ramp):
            raise ValueError(
                f"ramp {self.ramp}: give rising percentages, above 0 and up to {LARGEST_STEP:g}; "
                "beyond half the control would be the smaller arm"
            )
        return self

    def after(self, percent: float) -> float | None:
        """The step after `percent` (0 before the first); None after the last."""
        return next((step for step in self.ramp if step > percent), None)
