"""Names that the platform keeps for itself are refused at the files' door, with the remedy; so are files of two line ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.check import check
from tests.own_files import event, own, read, write_lines


@pytest.mark.parametrize(
    ("name", "remedy"), [("click", "write `action: click` if you mean that one"), ("own_3", "name it otherwise")]
)
def test_an_own_action_is_not_named_as_one_of_the_contract(tmp_path: Path, name: str, remedy: str) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    mapping = {"events": {"actions": {"buy": {"action": "own", "name": name, "kind": "liked"}}}}
    with pytest.raises(MalformedFile, match=f"events.actions.buy: an `own` action may not be named {name!r}") as refused:
        own(tmp_path, mapping)
    assert remedy in str(refused.value)


def test_a_row_of_the_kept_surface_is_left_out_with_its_reason(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0), event(1, product=" history_before"), event(2)])
    split = read(own(tmp_path))
    assert split.good.height == 2
    place = (
        "product",
        " history_before",
        "surface is the platform's own name for undated events from before the log; name the",
    )
    assert split.dead.select("source_column", "source_value", split.dead["reason"].str.head(len(place[2]))).row(0) == place


def test_the_kept_surface_is_refused_in_a_mapping(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(0)])
    with pytest.raises(MalformedFile, match="events.surface: surface 'history_before' is the platform's own name"):
        own(tmp_path, {"events": {"surface": "history_before"}})


def test_a_file_of_two_line_ends_is_refused_with_the_remedy(tmp_path: Path) -> None:
    lines = "".join(f"u{n},p{n},2025-03-0{n},click\n" for n in range(1, 9))
    (tmp_path / "events.csv").write_bytes(f"user_id,post_id,occurred_at,action\r\n{lines}".encode())
    (refusal,) = check(tmp_path).refusals
    assert refusal.endswith(r"its lines end in 2 ways, \r\n and \n; save the file with one kind of line end")
