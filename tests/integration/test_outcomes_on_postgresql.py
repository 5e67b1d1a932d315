"""The outcomes on a real PostgreSQL: all that holds on SQLite holds there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from infra.database import open_engine
from monitoring.outcomes.page import engagement_weights
from monitoring.outcomes.store import OutcomeStore
from tests.local_postgres import local_postgres
from tests.unit.outcomes import test_store

pytestmark = pytest.mark.slow

# Those that need no more than a store and its address.
CASES = [
    test
    for name, test in inspect.getmembers(test_store, inspect.isfunction)
    if name.startswith("test_") and {"store"} <= set(inspect.signature(test).parameters) <= {"store", "url"}
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with local_postgres() as url:
        yield url


def test_there_are_cases():
    assert len(CASES) > 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_it_holds_on_postgresql(server: str, case: Callable[..., None]):
    with open_engine(server).begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    given = {"store": OutcomeStore(server, engagement_weights({}), test_store.WAIT), "url": server}
    case(**{name: given[name] for name in inspect.signature(case).parameters})
