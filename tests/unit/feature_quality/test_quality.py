"""The whole judgement over a small lake: values as the stream engine has them, figures that add up, a page of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.catalogue import catalogue
from feature_repo.aggregates.cell_rows import CellRows
from feature_repo.aggregates.families import FAMILIES
from feature_repo.aggregates.features import whole
from feature_repo.aggregates.ranking_projection import dense_cells
from feature_repo.catalogue_sample import family_samples, sample_impressions
from feature_repo.event_log import read_events
from monitoring.feature_quality.quality import judge_features
from monitoring.feature_quality.report import QualityReport, write_report
from tests.small_events import FIRST_DAY, small_lake
from tests.streamed import streamed

pytestmark = pytest.mark.slow

DAYS = [FIRST_DAY + timedelta(days=number) for number in range(4)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(events, sampled impressions, samples of all families)."""
    lake = small_lake(tmp_path_factory.mktemp("lake"))
    events = read_events([lake])
    asked = sample_impressions(lake, events, DAYS[:3], DAYS[3:], 40, seed=3)
    return events, asked, list(family_samples(events, asked))


@pytest.fixture(scope="module")
def report(drawn) -> QualityReport:
    _, asked, samples = drawn
    families = judge_features(asked, samples, seed=1, threads=1)
    return QualityReport(datetime.now(UTC), "a <small> lake", len(asked), asked.reference_days, asked.window_days, families)


def test_sampled_values_are_those_of_the_stream_engine_at_the_same_moment(drawn):
    events, asked, samples = drawn
    assert [sample.family for sample in samples] == list(FAMILIES)
    for row in (0, 37, len(asked) - 1):
        now = asked.at_us[row]
        engine = streamed(events.filter(pl.col("at") < int(now)).sort("at"), 500)
        for sample in samples:
            ids = [asked.ids[name].to_numpy()[row : row + 1] for name in sample.family.ids]
            if "topic" in sample.family.ids and asked.ids["topic"][row] < 0:
                assert np.isnan(sample.vectors[row]).all()
                continue
            cells = dense_cells(engine.tables[sample.family.name], *(np.ascontiguousarray(one) for one in ids))
            expected = whole(sample.family).vectors(CellRows.of_dense(cells), now)
            np.testing.assert_allclose(
                sample.vectors[row : row + 1], expected, rtol=1e-4, atol=1e-5, err_msg=sample.family.name
            )
        engine.close()


def test_both_sides_are_sampled_oldest_first(drawn):
    _, asked, _ = drawn
    assert (asked.window.sum(), (~asked.window).sum()) == (40, 40)
    assert asked.at_us[~asked.window].max() < asked.at_us[asked.window].min()
    assert (np.diff(asked.at_us) >= 0).all()


def test_a_day_without_impressions_is_refused(drawn, tmp_path):
    events, *_ = drawn
    with pytest.raises(ValueError, match="2022-05-09"):
        sample_impressions(small_lake(tmp_path), events, DAYS, [FIRST_DAY + timedelta(days=14)], 5, seed=1)


def test_every_feature_is_judged_once_and_is_one_of_used_unused_constant_or_duplicate(report):
    judged = [one for family in report.families for one in family.features]
    assert [one.name for one in judged] == [feature.name for feature in catalogue()]
    assert sum(family.importance for family in report.families) == pytest.approx(1.0)
    for one in judged:
        kinds = (one.constant, one.same_as is not None, one.importance is not None)
        assert sum(kinds) == 1, one
    used = sum(one.importance is not None and one.importance > 0 for one in judged)
    assert used + report.count("unused") + report.count("constant") + report.count("duplicates") == len(judged)
    names = {one.name for one in judged}
    assert {first for first, _ in report.duplicate_groups} <= names


def test_the_page_stands_alone_and_lists_what_is_unused_and_what_is_double(report, tmp_path):
    page = write_report(report, tmp_path).read_text()
    assert "http" not in page
    assert "<script" not in page
    assert "a &lt;small&gt; lake" in page
    for family in report.families:
        assert f'id="{family.family}"' in page
        assert all(one.name in page for one in (*family.unused, *family.duplicates, *family.constant))
    assert json.loads((tmp_path / "latest.json").read_text())["features"] == len(catalogue())
    assert len(json.loads((tmp_path / "features.json").read_text())) == len(catalogue())
