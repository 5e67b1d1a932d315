"""Training rows as one safetensors file, for another process to read."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from feature_repo.feature_rows import FeatureRows, History
from infra.full_disk import told_when_full


def save_rows(rows: FeatureRows, file: Path) -> None:
    """Write `rows` into `file`, arrays as they are. Raises DiskFull where there is no room."""
    arrays = {}
    for name, value in ((field.name, getattr(rows, field.name)) for field in fields(rows) if field.name != "names"):
        if isinstance(value, History):
            arrays |= {f"{name}/{part.name}": getattr(value, part.name) for part in fields(value)}
        elif isinstance(value, dict):
            arrays |= {f"{name}/{key}": array for key, array in value.items()}
        elif value is not None:
            arrays[name] = value
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with told_when_full(file):
        save_file(whole, file, metadata={"names": json.dumps(rows.names), "blocks": json.dumps(list(rows.blocks))})


def load_rows(file: Path) -> FeatureRows:
    """What `save_rows` wrote."""
    with safe_open(file, "np") as opened:
        metadata = opened.metadata()
    arrays = load_file(file)
    names = {name: tuple(columns) for name, columns in json.loads(metadata["names"]).items()}
    return FeatureRows(
        **{name: array for name, array in arrays.items() if "/" not in name},
        blocks={name: arrays[f"blocks/{name}"] for name in json.loads(metadata["blocks"])},
        history=History(**{field.name: arrays[f"history/{field.name}"] for field in fields(History)}),
        names=names,
    )
