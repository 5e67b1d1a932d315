"""Flow `consistency`: a sample of what was served, computed again from the lake by the batch engine, and compared.

Above the bound of the settings the flow fails, and says which family and which feature.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.steps.lakes import dataset_marker, open_lakes
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE
from infra.settings import get_settings

KEYS_PER_FAMILY = 200


@task(name="recompute and compare", **FLAKY_EDGE)
def recompute_and_compare(keys_per_family: int):
    """Both samples; writes the report's JSON and page."""
    from monitoring.consistency.check import check_consistency
    from monitoring.consistency.report import FOLDER, write_report

    settings = get_settings()
    label = dataset_marker(settings)["label"]
    report = check_consistency(settings, open_lakes(settings)[0], label, keys_per_family, announce)
    write_report(report, settings.paths.reports / FOLDER)
    return report


@flow(name="consistency")
def consistency_flow(keys_per_family: int = KEYS_PER_FAMILY) -> dict[str, Any]:
    """Compare what was served with what the batch engine gives; raises ServedFeaturesDiffer beyond the bound."""
    report = recompute_and_compare(keys_per_family)
    table = [
        {
            "family": family.family,
            "judged": family.judged,
            "in flight": family.in_flight,
            "differing vectors": f"{family.share_of_vectors:.2%}",
            "differing values": f"{family.share_of_values:.4%}",
            "worst feature": family.worst[0].name if family.worst else "",
        }
        for family in report.families
    ]
    said = "Served features agree with the lake" if report.passed else "Served features differ from the lake"
    create_table_artifact(key="consistency", table=table, description=said)
    create_link_artifact(
        key="consistency-report",
        link=f"{get_settings().gateway_url}/reports/consistency/index.html",
        link_text="Consistency of served features",
    )
    report.require()
    return report.to_dict()
