"""When drift matters: every threshold of the decision, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from feature_repo.aggregates.ranking_state import LIFETIME_RATE, LIFETIME_WINDOWS, MICROSECONDS, WINDOWS
from feature_repo.heads import MOST_DECIDING

HISTORY_COLUMNS = ("context.", "user_author.", "user_topic.", "user_post.")  # read off a user's newest exposures
SETTLED_HALF_LIVES = 3  # after so many a fading sum holds seven eighths of what it comes to, and grows little more


@dataclass(frozen=True)
class DriftPolicy:
    """Thresholds. A column drifts only if it is significant (after false-discovery control) AND large."""

    alpha: float = 0.01  # false discovery rate over the columns of one window
    psi: float = 0.2  # the usual "significant shift" of the population stability index
    # A gross shift decides at once, whatever the history: such a jump is a broken feed, not taste. Fading counters reach a PSI
    # of 1 honestly from day to day, so the bounds lie well above.
    gross_psi: float = 3.0
    gross_sigmas: float = 3.0
    gross_missing: float = 0.3  # rise of the share of missing values
    # Columns that follow the clock (beginnings): every window differs in them from every other, so that they move is no drift.
    clock_columns: tuple[str, ...] = ("post.log_age_s", "context.weekday_", "context.hour_")
    # Columns since the first event (endings). In the first weeks of a log counts grow far and rates leave their priors, so
    # that they move is no drift: a broken feed shows in the columns that fade too.
    lifetime_columns: tuple[str, ...] = (*(f".{name}" for name in LIFETIME_WINDOWS), f".{LIFETIME_RATE}")
    filling_columns: tuple[str, ...] = ()  # columns that still fill, as histories of a young log do (beginnings): see `of_log`
    calibration_tolerance: float = 0.25  # predicted/observed outside [1 - t, 1 / (1 - t)] with 99 % certainty
    auc_drop: float = 0.02  # loss against the reference that counts, beyond the interval of the difference
    auc_collapse: float = 0.10  # loss that no drift explains within a day: the release is at fault
    confidence_z: float = 2.58  # 99 %, for differences of AUC
    breaches: int = 2  # a soft signal decides when it appears in `breaches` ...
    windows: int = 3  # ... of the newest `windows` windows, the present one included
    cool_down: timedelta = timedelta(hours=12)  # after a retraining was asked for, soft signals wait
    min_rows: int = 500  # fewer rows on either side, and nothing is decided
    min_positives: int = 50  # fewer positive labels, and a head's quality is not judged
    sample_rows: int = 20_000  # rows per side that distributions are compared on; quality uses all rows
    seed: int = 7  # of the sample
    deciding_heads: tuple[str, ...] | None = None  # heads that may decide, others are reported; None: the commonest
    most_deciding: int = MOST_DECIDING  # heads that decide where the commonest are chosen
    importance: Mapping[str, float] = field(default_factory=dict)  # weight by column in `drifted_share`; default 1

    def __post_init__(self) -> None:
        if not 1 <= self.breaches <= self.windows:
            raise ValueError(f"breaches must lie in [1, windows={self.windows}], got {self.breaches}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie in (0, 1), got {self.alpha}")

    def of_log(self, age: timedelta) -> DriftPolicy:
        """This policy for a reference that begins `age` after the log did.

        Sums that fade too slowly to have settled by then grow like those since the first event, and so do histories: neither
        is judged.
        """
        filling = unsettled_windows(age)
        return replace(
            self,
            lifetime_columns=(*self.lifetime_columns, *(f".{name}" for name in filling)),
            filling_columns=HISTORY_COLUMNS if filling else (),
        )

    def may_move(self, column: str) -> bool:
        """Whether `column` moves far on sound data, which is no drift then; that its values vanish still decides."""
        return column.startswith((*self.clock_columns, *self.filling_columns)) or column.endswith(self.lifetime_columns)


def unsettled_windows(age: timedelta) -> tuple[str, ...]:
    """The fading windows whose sums are still filling `age` after the log's first event."""
    half_lives = {w.name: timedelta(seconds=w.half_life_us / MICROSECONDS) for w in WINDOWS if w.half_life_us is not None}
    return tuple(name for name, half_life in half_lives.items() if age < SETTLED_HALF_LIVES * half_life)
