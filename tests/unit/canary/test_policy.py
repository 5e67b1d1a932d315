"""The judge's policy is a file: what is wrong with one is said in words."""

from __future__ import annotations

import pytest
import yaml

from monitoring.canary.policy import DEFAULT, JudgePolicy


def with_metric(**fields: object) -> dict:
    content = yaml.safe_load(DEFAULT.read_text())
    return {"metrics": [content["metrics"][0] | fields, *content["metrics"][1:]]}


def test_the_shipped_policy_is_the_default_and_may_be_read_from_its_file():
    assert JudgePolicy.from_yaml(DEFAULT) == JudgePolicy.default()
    assert JudgePolicy.default().alpha == 0.01


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("alpha: 0.02\nheads: [purchase]\n")
    assert JudgePolicy.from_yaml(file) == JudgePolicy.default().model_copy(update={"alpha": 0.02, "heads": ("purchase",)})


def test_the_parts_of_alpha_add_up_to_alpha_and_dry_runs_have_theirs():
    policy = JudgePolicy.default()
    parts = [
        policy.alpha_of(metric) * (policy.max_deciding_heads if metric.name == "log_loss" else 1)
        for metric in policy.metrics
        if metric.role != "signals"
    ]
    assert sum(parts) == pytest.approx(policy.alpha)
    dry = policy.model_copy(update={"metrics": tuple(m.model_copy(update={"dry_run": True}) for m in policy.metrics)})
    assert [dry.alpha_of(metric) for metric in dry.metrics] == [policy.alpha_of(metric) for metric in policy.metrics]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"alpha": 0.6}, "alpha: Input should be less than 0.5"),
        ({"alhpa": 0.01}, "alhpa: Extra inputs are not permitted"),
        ({"min_users": 0}, "min_users"),
        ({"metrics": []}, "metrics"),
        (with_metric(name="clicks"), "metrics.0.name: Input should be 'engagement', 'log_loss'"),
        (with_metric(margin=-0.02), "metrics.0.margin"),
        (with_metric(resolution=0.01), "resolution of engagement is 0.01, finer than its margin of 0.02"),
        (with_metric(resolution=None), "engagement decides; a metric has a resolution unless it only signals"),
        (with_metric(scale="ratio", better="lower"), "a ratio that is tolerated lies above 1"),
        (with_metric(name="failed"), "metrics names failed more than once"),
        (with_metric(name="latency_p95"), "quantiles are compared as a ratio"),
    ],
)
def test_a_senseless_policy_is_refused_with_the_field_and_the_reason(tmp_path, content, words):
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="policy.yaml") as refused:
        JudgePolicy.from_yaml(file)
    assert words in str(refused.value)


def test_a_file_that_holds_no_policy_is_refused(tmp_path):
    (tmp_path / "policy.yaml").write_text("- alpha\n")
    with pytest.raises(ValueError, match="holds no policy"):
        JudgePolicy.from_yaml(tmp_path / "policy.yaml")


def test_without_a_deciding_metric_there_is_no_policy(tmp_path):
    content = yaml.safe_load(DEFAULT.read_text())
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"metrics": content["metrics"][2:]}))
    with pytest.raises(ValueError, match="has none that decides"):
        JudgePolicy.from_yaml(tmp_path / "policy.yaml")
