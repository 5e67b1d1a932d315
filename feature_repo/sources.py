"""Feast sources: one Parquet table per feature view, and a push source where fresh rows come in besides."""

from __future__ import annotations

from pathlib import Path

from feast import FileSource, PushSource

from feature_repo.offline_files import TIMESTAMP, source_file
from feature_repo.view_schemas import ViewSchema


def batch_source(features: Path, view: ViewSchema) -> FileSource:
    """The Parquet table of `view` under the features folder."""
    return FileSource(name=f"{view.name}_rows", path=str(source_file(features, view.name)), timestamp_field=TIMESTAMP)


def push_source(features: Path, view: ViewSchema) -> PushSource:
    """Where fresh rows of `view` are pushed: `store.push(push_name(view.name), rows)`."""
    return PushSource(name=push_name(view.name), batch_source=batch_source(features, view))


def push_name(view: str) -> str:
    """Name of the push source of `view`."""
    return f"{view}_push"
