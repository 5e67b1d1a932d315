"""What a bundle's folder is called by: read by whoever handles bundles as files, without torch."""

from __future__ import annotations

DESCRIPTION = "bundle.json"


class BundleError(ValueError):
    """A bundle folder is missing, of another format, or does not fit the rows it is asked to score."""
