"""What the judge is asked to tolerate. Every default is named here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JudgePolicy:
    """Margins, error rates and sample sizes of one canary.

    Deciding metrics must be *shown* to be no worse than the margin before a release is promoted. Guards only stop a
    release: when shown beyond their limit they roll it back, and while their estimate is beyond it they hold it.
    """

    alpha: float = 0.05  # chance that a release as good as the live one is ever rolled back, over all metrics and looks
    deciding_heads: tuple[str, ...] | None = None  # heads whose log loss decides, at every look; None: nothing is promoted
    observed_heads: tuple[str, ...] = ()  # heads whose log loss is shown and never decides
    own_actions: Mapping[str, str] = field(default_factory=dict)  # by name, each with its head: for labels
    log_loss_margin: float = 0.03  # relative to the live release's log loss
    ndcg_margin: float = 0.03  # absolute
    error_margin: float = 0.01  # share of visits
    empty_margin: float = 0.01  # share of visits
    author_share_margin: float = 0.05  # absolute, of the share of distinct authors in a timeline
    latency_ratio: float = 1.5  # p95 of the canary over p95 of the live release
    min_users: int = 200  # in each arm, before a promotion
    min_users_to_roll_back: int = 50  # in each arm; with fewer the intervals' normal approximation is not to be trusted
    tuned_for: float = 250.0  # effective users (nm / (n + m)) at which the intervals are narrowest
    treatment_share: float | None = None  # expected share of users in the canary (0..1); None: arm sizes are not tested
    ratio_alpha: float = 0.001  # chance of a false alarm about the arms' sizes
    max_crossover_share: float = 0.01  # users seen in both arms, above which nothing is promoted

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha is {self.alpha}; give a chance between 0 and 0.5")
        if self.treatment_share is not None and not 0 < self.treatment_share < 1:
            raise ValueError(f"treatment_share is {self.treatment_share}; give the canary's share of users between 0 and 1")
        if self.deciding_heads == ():
            raise ValueError("deciding_heads is empty; without a head that decides nothing goes live")
