"""Model rows as the flat frame that a drift check reads."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.feature_rows import BLOCKS, HEADS, FeatureRows


def drift_frame(
    rows: FeatureRows, probabilities: np.ndarray | None = None, *, scored: np.ndarray | None = None
) -> pl.DataFrame:
    """One row per feature row: `user_id`, `<block>.<name>` columns, `prediction_<head>` and, where known, `label_<head>`.

    `probabilities` is (n, len(HEADS)); `scored` (n,) bool tells which rows carry a prediction that may be judged (rows the
    model was trained on may not), all by default. Raises ValueError if a block has another width than names.
    """
    columns: dict[str, np.ndarray] = {"user_id": rows.user_id}
    for block in BLOCKS:
        values, names = rows.blocks[block], rows.names.get(block, ())
        if values.shape[1] != len(names):
            raise ValueError(f"block {block!r} has {values.shape[1]} columns but {len(names)} names; drift is reported by name")
        columns |= {f"{block}.{name}": values[:, place] for place, name in enumerate(names)}
    frame = pl.DataFrame(columns)
    if probabilities is not None:
        judged = np.ones(len(rows), bool) if scored is None else np.asarray(scored, bool)
        predictions = {f"prediction_{head}": probabilities[:, place] for place, head in enumerate(HEADS)}
        frame = frame.with_columns(pl.DataFrame(predictions)).with_columns(
            pl.when(pl.Series(judged)).then(pl.col(name)).alias(name) for name in predictions
        )
    if rows.labels is not None:
        frame = frame.with_columns(pl.DataFrame({f"label_{head}": rows.labels[:, place] for place, head in enumerate(HEADS)}))
    return frame
