"""Names of the feature services, for whoever writes them down without loading Feast."""

from __future__ import annotations

RANKING = "ranking_v1"
REQUEST = "request_v1"
AGGREGATES = "aggregates_v1"
