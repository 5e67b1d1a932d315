"""The error of a step that needs more data than there is. The platform is not at fault, and a retry would not help."""

from __future__ import annotations


class TooLittleData(RuntimeError):
    """There is not enough data for a step; the message says what is missing."""
