"""The retrieval bench on a small catalogue: both indexes are asked, and the approximate one is judged by the exact one."""

import pytest

from tests.bench.index import DEPTHS, PROBES, bench_index


@pytest.fixture(scope="module")
def report():
    return bench_index(posts=(3_000,), queries=10)


def test_every_index_is_measured_and_says_that_vectors_are_simulated(report):
    assert report["vectors"] == "simulated"
    measured = report["catalogues"]["3000"]
    assert list(measured) == ["exact", *(f"approximate, {probes} lists" for probes in PROBES)]
    assert all(figures["queries_per_s"] > 0 and figures["build_s"] >= 0 for figures in measured.values())


def test_exact_finds_all_and_more_lists_find_more(report):
    measured = report["catalogues"]["3000"]
    assert [measured["exact"][f"recall_at_{depth}"] for depth in DEPTHS] == [1.0] * len(DEPTHS)
    found = [measured[f"approximate, {probes} lists"][f"recall_at_{DEPTHS[-1]}"] for probes in PROBES]
    assert found == sorted(found)
    assert found[-1] > 0.95
