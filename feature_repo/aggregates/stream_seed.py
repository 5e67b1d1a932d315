"""Seed the stream worker's state from the offline tables, so that the stream goes on where the batch ended."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.catalogue import Key
from feature_repo.aggregates.stream_fold import fold_events
from feature_repo.aggregates.stream_history import Exposure, StreamHistory
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.event_log import first_topics, read_events, read_table
from feature_repo.exposures import UNDATED, exposure_frame
from feature_repo.feature_rows import HEADS, HISTORY_LENGTH
from feature_repo.lake import Lake
from feature_repo.products import product_bucket
from feature_repo.state_tables import read_state_table
from infra.settings import Settings

STATE_FILE = "state.db"
LOCK_FILE = "worker.lock"
STREAM_PART = re.compile(r"stream-(?:g(?P<generation>\d+)-)?(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)")


class WorkerRunning(RuntimeError):
    """The stream state is held by a running worker."""


class NotSeeded(RuntimeError):
    """The stream state was never seeded from the offline tables."""
