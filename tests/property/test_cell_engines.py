"""One truth for all families: the stream engine, the batch engine and the definition give the same cells and features."""

from __future__ import annotations

import ibis
import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.batch_cells import cells_as_of, to_cells
from feature_repo.aggregates.cell_rows import dense_cells
from feature_repo.aggregates.families import FAMILIES, Family
from feature_repo.aggregates.features import feature_vectors
from feature_repo.aggregates.measures import HOUR_US
from feature_repo.aggregates.stream_engine import StreamEngine
from feature_repo.event_log import read_events
from tests.closed_formula import assert_same_cells, remembered
from tests.small_events import small_lake
from tests.streamed import streamed


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> pl.DataFrame:
    return read_events([small_lake(tmp_path_factory.mktemp("cells") / "lake")])


@pytest.fixture(scope="module")
def engine(events) -> StreamEngine:
    return streamed(events.sample(fraction=1.0, shuffle=True, seed=3), batch=61)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("later_us", [1, 5 * HOUR_US, 400 * HOUR_US])
def test_the_stream_engine_ends_in_what_the_definition_says(events, engine, family: Family, later_us):
    now_us = events["at"].max() + later_us
    assert_same_cells(engine.tables[family.name].cells, remembered(events, family), now_us)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_feature_is_the_same_from_both_engines(events, engine, family: Family):
    now_us = events["at"].max() + HOUR_US
    table = ibis.memtable(events.to_arrow())
    batch = to_cells(cells_as_of(table, family, now_us).to_pyarrow())
    stream = engine.tables[family.name].cells
    keys = np.unique(stream[["a", "b"]])
    a, b = keys["a"].copy(), keys["b"].copy()
    vectors = [feature_vectors(family, dense_cells(a, b, cells.copy()), now_us) for cells in (stream, batch)]
    assert np.unique(batch[["a", "b"]]).tolist() == keys.tolist()
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-6, atol=1e-12)
