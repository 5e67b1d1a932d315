"""The batch engine's expressions on Spark (local mode), unchanged: the same cells as on DuckDB."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import ibis
import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.batch_cells import cells_as_of, cells_at
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF
from tests.catalogue_events import NOW_US, catalogue_events

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.pyspark import Backend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed: pip install '.[dev]'"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java 17: apt-get install openjdk-17-jre-headless"),
]

ROW_KEY = ["a", "b", "as_of_us", "measure"]


@pytest.fixture(scope="module")
def spark(tmp_path_factory) -> Iterator[Backend]:
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "1",
        # Compiling each query costs more than these few rows do; what is compared is the meaning, which is the same.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
    }
    builder = SparkSession.builder.master("local[2]").appName("batch-cells")
    session = builder.config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield ibis.pyspark.connect(session)
    session.stop()


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return catalogue_events(400, seed=8)


@pytest.fixture(scope="module")
def spark_events(spark, events, tmp_path_factory) -> ir.Table:
    file = tmp_path_factory.mktemp("events") / "events.parquet"
    events.write_parquet(file)
    return spark.read_parquet(str(file), table_name="events").cache()


def rows(expression: ir.Table) -> pl.DataFrame:
    return pl.from_arrow(expression.to_pyarrow()).sort(ROW_KEY)


def assert_same_rows(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found.schema == expected.schema
    assert expected.height > 0
    for column in expected.columns:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-9, atol=1e-30, err_msg=column)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_spark_and_duckdb_have_the_same_cells(family, events, spark_events):
    expected = rows(cells_as_of(ibis.memtable(events.to_arrow()), family, NOW_US))
    assert_same_rows(rows(cells_as_of(spark_events, family, NOW_US)), expected)


@pytest.mark.parametrize("name", ["user", "author_topic"])
def test_spark_and_duckdb_give_the_same_answers_as_of_many_moments(name, spark, events, spark_events, tmp_path):
    family = FAMILY_OF[name]
    asked = events.filter(pl.col("topic") >= 0).sample(30, seed=2)
    ids = [asked[column].cast(pl.Int64) for column in family.ids]
    questions = pl.DataFrame({"a": ids[0], "b": ids[-1] if len(ids) > 1 else ids[0] * 0, "now_us": asked["at"] + 1})
    questions.write_parquet(tmp_path / "questions.parquet")
    expected = rows(cells_at(ibis.memtable(events.to_arrow()), ibis.memtable(questions.to_arrow()), family))
    spark_questions = spark.read_parquet(str(tmp_path / "questions.parquet"), table_name="questions")
    assert_same_rows(rows(cells_at(spark_events, spark_questions, family)), expected)
