"""What a quotient falls back to where little was seen: beliefs in the size of rates and means, and what each is worth."""

from __future__ import annotations

from feature_repo.aggregates.ranking_state import PRIOR_RATES

# Events per impression. Those of the ranker's own heads are shared with it.
RATES = {
    **PRIOR_RATES,
    "repost": 0.005,
    "quote": 0.001,
    "bookmark": 0.003,
    "dwell": 0.9,
    "mute": 0.0003,
    "block": 0.0002,
    "report": 0.0002,
}
RATE_WEIGHT = 5.0  # impressions that the belief in a rate is worth

MEANS_S = {"dwell_s": 20.0, "video_view_s": 60.0}  # seconds per event
MEAN_WEIGHT = 1.0  # events that the belief in a mean is worth

TREND_WEIGHT = 1.0  # events that the belief in a steady pace is worth
