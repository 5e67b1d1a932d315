"""What a quotient falls back to where little was seen: beliefs in the size of rates and means, and what each is worth."""

from __future__ import annotations

from feature_repo.heads import PRIOR_RATES

# Smoothing priors, in events per impression: the rate assumed for a key with few impressions.
RATES = {**PRIOR_RATES, "dwell": 0.9}
RATE_WEIGHT = 5.0  # impressions that the belief in a rate is worth

MEANS_S = {"dwell_s": 20.0, "video_view_s": 60.0}  # seconds per event
MEAN_WEIGHT = 1.0  # events that the belief in a mean is worth

TREND_WEIGHT = 1.0  # events that the belief in a steady pace is worth
