"""The report that a person reads: Evidently's HTML and a run in a workspace that `evidently ui` opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from infra.storage import replace_atomically
from monitoring.drift.columns import feature_columns, sample_rows, score_columns
from monitoring.drift.policy import DriftPolicy
from monitoring.drift.two_sample import compare
from monitoring.drift.verdict import DriftDecision

PROJECT = "Home Mixer"
REPORT_COLUMNS = 30  # a page of more columns takes longer to build and is not read
REPORT_ROWS = 10_000  # rows per side that the report draws; the decision reads its own, larger sample
KEPT_REPORTS = 40  # newest reports kept, as pages and in the workspace: a server that opens hundreds grows by gigabytes
METHOD = "quantile_psi"


def write_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    decision: DriftDecision,
    folder: Path,
    *,
    columns: Sequence[str] | None = None,
    rows: int = REPORT_ROWS,
    policy: DriftPolicy | None = None,
) -> Path:
    """Write Evidently's report of the window under `folder` and add it to the workspace `folder/workspace`; returns the HTML.

    `columns` default to the scores and the `REPORT_COLUMNS` feature columns that moved most, so nothing that moved is left
    out. Each side is sampled to `rows` rows by the policy's seed. Evidently judges each column by the same quantile-binned
    PSI as the decision, so that the two pages do not contradict each other.
    """
    policy = policy or DriftPolicy()
    chosen = [name for name in columns or most_moved(reference, decision) if name in current.columns]
    snapshot = _run(
        sample_rows(reference.select(chosen), rows, policy.seed),
        sample_rows(current.select(chosen), rows, policy.seed),
        decision,
        policy,
    )
    page = folder / f"{report_name(decision)}.html"
    with replace_atomically(page) as temporary:
        snapshot.save_html(str(temporary))
    _add_to_workspace(snapshot, folder / "workspace", decision)
    for old in sorted(folder.glob("drift-*.html"))[:-KEPT_REPORTS]:
        old.unlink()
    return page


def report_name(decision: DriftDecision) -> str:
    """File name, without its ending, of the decision's report."""
    return f"drift-{decision.at:%Y%m%dT%H%M%S}" + ("-planted" if decision.planted else "")


def most_moved(reference: pl.DataFrame, decision: DriftDecision, count: int | None = None) -> list[str]:
    """Scores and the features that moved most, `count` at most (default REPORT_COLUMNS); what never varies is left out.

    Without a decision on columns, the first ones.
    """
    count = REPORT_COLUMNS if count is None else count
    if not decision.columns:
        return [*score_columns(reference), *feature_columns(reference)][:count]
    varying = reference.select(pl.col([column.name for column in decision.columns]).n_unique() > 1).row(0, named=True)
    order = sorted(decision.columns, key=lambda column: (column.family != "score", not column.gross, -column.psi))
    return [column.name for column in order if varying[column.name] or column.psi > 0][:count]


def _run(reference: pl.DataFrame, current: pl.DataFrame, decision: DriftDecision, policy: DriftPolicy) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    _register_method(policy.psi)
    numeric = [name for name, dtype in reference.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
    definition = DataDefinition(
        numerical_columns=numeric, categorical_columns=[name for name in reference.columns if name not in numeric]
    )
    sides = [
        Dataset.from_pandas(side.with_columns(pl.col(numeric).cast(pl.Float64)).to_pandas(), data_definition=definition)
        for side in (current, reference)
    ]
    metadata = {"verdict": decision.verdict, "window": decision.label, "planted": decision.planted or "nothing"}
    tags = [decision.verdict, *(["planted fault"] if decision.planted else [])]
    preset = DataDriftPreset(columns=reference.columns, num_method=METHOD, cat_method="psi", threshold=policy.psi)
    # Evidently correlates the columns for its plots; a constant one divides by zero there, which is no fault of the window.
    with np.errstate(divide="ignore", invalid="ignore"):
        return Report([preset], metadata=metadata, tags=tags).run(*sides, timestamp=decision.at, name=report_name(decision))


def _register_method(threshold: float) -> None:
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    test = StatTest(
        name=METHOD,
        display_name="PSI (quantile bins)",
        allowed_feature_types=[ColumnType.Numerical],
        default_threshold=threshold,
    )

    def quantile_psi(reference: Any, current: Any, _kind: Any, limit: float) -> tuple[float, bool]:
        psi = compare(np.asarray(reference, float), np.asarray(current, float)).psi
        return psi, psi >= limit

    register_stattest(test, default_impl=quantile_psi)


def _add_to_workspace(snapshot: Any, folder: Path, decision: DriftDecision) -> None:
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(folder))
    existing = workspace.search_project(PROJECT)
    project = existing[0] if existing else workspace.create_project(PROJECT, "Drift of the ranking features and scores")
    if not existing:
        _draw_dashboard(project, [head.head for head in decision.heads if head.decides])
    kept = {run: workspace.get_run(project.id, run).name for run in workspace.list_runs(project.id)}
    newest = sorted(name for name in kept.values() if name != report_name(decision))[-(KEPT_REPORTS - 1) :]
    for run, name in kept.items():
        if name not in newest:
            workspace.delete_run(project.id, run)
    workspace.add_run(project.id, snapshot)


def _draw_dashboard(project: Any, heads: Sequence[str]) -> None:
    from evidently.sdk.models import DashboardPanelPlot, PanelMetric

    for head in heads:
        score = f"prediction_{head}"
        series = PanelMetric(legend=f"PSI of {score}", metric="ValueDrift", metric_labels={"column": score})
        project.dashboard.add_panel(
            DashboardPanelPlot(title=f"Score shift: {head}", size="half", values=[series], plot_params={"plot_type": "line"})
        )
