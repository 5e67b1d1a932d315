"""Own actions keep their slots for ever: what a changed mapping may still name, and what `check` says of it beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from prefect.states import Failed
from typer.testing import CliRunner

from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.own.adapter import OwnData
from feature_repo.datasets.own.check import check
from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import held_names
from flows.cli.dataset import data
from flows.ingest import ingest_tables
from infra.settings import get_settings
from tests.own_files import event, read, write_lines

OLD = {"buy": "purchase", "wish": "wishlist"}
RENAMED = {"buy": "purchase", "wish": "favourite"}


def name_actions(folder: Path, names: dict[str, str]) -> None:
    """A mapping that calls each action of the files an own one of these names."""
    rules = {theirs: {"action": "own", "name": name, "kind": "liked"} for theirs, name in names.items()}
    folder.mkdir(exist_ok=True)
    (folder / "mapping.yaml").write_text(yaml.safe_dump({"events": {"actions": {"impression": "impression", **rules}}}))


@pytest.fixture
def home(tmp_path: Path) -> str:
    """Database of a home that ingested `files` when their own actions had the OLD names; then they were RENAMED."""
    rows = [event(0), event(1, action="buy"), event(2, action="wish")]
    write_lines(tmp_path / "files" / "events.jsonl", rows)
    url = f"sqlite:///{tmp_path / 'home.sqlite'}"
    name_actions(tmp_path / "files", OLD)
    read(OwnData(tmp_path / "files", IdTable(url)))
    name_actions(tmp_path / "files", RENAMED)
    return url


def test_the_refusal_names_who_holds_the_slots_and_the_remedy(home: str, tmp_path: Path) -> None:
    with pytest.raises(ActionError) as refused:
        read(OwnData(tmp_path / "files", IdTable(home)))
    told = str(refused.value)
    assert told.startswith("favourite: no slot is free for an own action of kind liked")
    assert "in this home purchase, wishlist hold them; the mapping no longer names wishlist" in told
    assert "Take the old name again" in told and "MIXER_HOME" in told
    name_actions(tmp_path / "files", OLD)
    assert read(OwnData(tmp_path / "files", IdTable(home))).good.height == 3


def test_check_says_it_before_and_writes_nothing(home: str, tmp_path: Path) -> None:
    held = held_names(home)
    assert held["liked"] == ["purchase", "wishlist"]
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.sqlite")}
    (refusal,) = check(tmp_path / "files", held).refusals
    assert refusal.startswith("favourite: no slot is free")
    assert check(tmp_path / "files").accepted  # into a new home
    name_actions(tmp_path / "files", OLD)
    assert check(tmp_path / "files", held).accepted
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.sqlite")} == before


def test_the_command_reads_the_names_of_its_home(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXER_DATABASE_URL", home)
    get_settings.cache_clear()
    shown = CliRunner().invoke(data, ["check", str(tmp_path / "files")])
    get_settings.cache_clear()
    assert shown.exit_code == 1 and "favourite: no slot is free" in shown.output


def test_a_home_that_is_not_there_holds_no_name_and_is_not_made(tmp_path: Path) -> None:
    assert held_names(f"sqlite:///{tmp_path / 'nowhere' / 'home.sqlite'}") == {}
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "empty.sqlite").touch()
    assert held_names(f"sqlite:///{tmp_path / 'empty.sqlite'}") == {}


def test_an_ingestion_without_a_free_slot_is_not_tried_again() -> None:
    failed = Failed(data=ActionError("no slot is free"))
    assert ingest_tables.retry_condition_fn(None, None, failed) is False
