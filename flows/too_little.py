"""The data does not reach for a step: no fault of the platform, and nothing to retry."""

from __future__ import annotations


class TooLittleData(RuntimeError):
    """A step was asked for that the data at hand cannot give; the message says what is missing."""
