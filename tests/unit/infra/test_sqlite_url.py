"""A SQLite database lies where its folder says, whatever characters the folder's name has."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from infra.database import open_engine
from infra.settings import Settings
from infra.sqlite_url import sqlite_url

ODD_NAMES = ["home", "a b", "what?", "x?mode=memory", "no#1", "100%", "a%20b?", "ü & ö;"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_platform_database_lies_under_its_home(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    with open_engine(settings.platform_database_url).begin() as connection:
        connection.execute(text("CREATE TABLE kept (n INTEGER)"))
    assert settings.paths.platform_database.stat().st_size > 0
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_plain_engine_finds_the_same_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "mlflow.db"
    file.parent.mkdir()
    with create_engine(sqlite_url(file)).begin() as connection:
        connection.execute(text("CREATE TABLE kept (n INTEGER)"))
    assert file.stat().st_size > 0


def test_prefect_is_told_its_database_where_it_would_not_find_it(tmp_path: Path) -> None:
    name = "PREFECT_API_DATABASE_CONNECTION_URL"
    assert name not in Settings(home=tmp_path / "plain").child_environment()
    told = Settings(home=tmp_path / "what?").child_environment()[name]
    assert told == f"sqlite+aiosqlite:///file:{tmp_path}/what%3F/prefect/prefect.db?uri=true"
