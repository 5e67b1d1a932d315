"""mapping.yaml: your columns and values as ours; what it can't mean is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.actions import ActionError
from feature_repo.datasets.own.mapping import NAMED_ACTIONS, Kind, read_mapping
from feature_repo.heads import HEAD_OF, OWN_SLOTS
from tests.own_files import own, read, write_csv

LOG = "who,what,did,when,page\nanna,s1,view,2025-01-01,news\nanna,s1,open,2025-01-01,news\nben,s2,play,2025-01-02,\n"
COLUMNS = {"user_id": "who", "post_id": "what", "action": "did", "occurred_at": "when", "surface": "page"}


def test_columns_actions_and_a_surface_for_empty_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", LOG)
    actions = {"view": "impression", "open": "click", "play": "video_view"}
    mapping = {"events": {"files": "log.csv", "columns": COLUMNS, "actions": actions, "surface": "elsewhere"}}
    good = read(own(tmp_path, mapping)).good
    assert good.select("action", "product").rows() == [("impression", "news"), ("click", "news"), ("video_view", "elsewhere")]


def test_a_value_mapped_to_null_is_skipped_and_counted_and_one_not_mapped_is_a_dead_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", LOG)
    mapping = {"events": {"columns": COLUMNS, "actions": {"view": "impression", "play": None}, "surface": "x"}}
    adapter = own(tmp_path, mapping)
    split = read(adapter)
    assert (split.good.height, adapter.counts.skipped, split.dead.height) == (1, 1, 1)
    assert "action is not mapped: name it under `actions`" in split.dead["reason"][0]
    assert split.dead["source_value"].to_list() == ["open"]


def test_own_actions_take_a_slot_of_their_kind_for_ever(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", LOG)
    play = {"action": "own", "name": "play", "kind": "completed"}
    mapping = {"events": {"columns": COLUMNS, "actions": {"view": "impression", "open": "click", "play": play}, "surface": "x"}}
    adapter = own(tmp_path, mapping)
    assert "own_3" in read(adapter).good["action"].to_list()
    assert [(one.slot, one.name, one.kind) for one in adapter.own_actions] == [("own_3", "play", "completed")]
    later = mapping["events"]["actions"] | {"open": {"action": "own", "name": "finish", "kind": "completed"}}
    again = own(tmp_path, {"events": mapping["events"] | {"actions": later}})
    assert {one.name: one.slot for one in again.own_actions} == {"play": "own_3", "finish": "own_4"}


def test_more_own_actions_of_a_kind_than_slots_are_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", LOG)
    actions = {name: {"action": "own", "name": name, "kind": "liked"} for name in ("view", "open", "play")}
    with pytest.raises(ActionError, match="2 slots for own actions of kind liked, and open, play, view want one each"):
        read(own(tmp_path, {"events": {"columns": COLUMNS, "actions": actions}}))
    actions["view"] = "impression"  # the refused attempt took no slot
    assert len(own(tmp_path, {"events": {"columns": COLUMNS, "actions": actions}}).own_actions) == 2


def test_a_mapping_may_name_every_head_and_every_kind_that_has_slots() -> None:
    slots = {slot for members in OWN_SLOTS.values() for slot in members}
    assert set(get_args(Kind)) == {role.value for role, members in OWN_SLOTS.items() if members}
    assert set(HEAD_OF) - slots <= set(NAMED_ACTIONS) and not slots & set(NAMED_ACTIONS)


def test_one_row_per_exposure_with_columns_of_0_and_1_counts_and_a_value(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "events.csv",
        "user_id,post_id,occurred_at,clicked,likes,watched_s\n1,5,2025-01-01,1,0,2.5\n1,6,2025-01-01,0,3,0\n1,7,2025-01-02,,,\n",
    )
    columns = {"clicked": "click", "likes": "like", "watched_s": {"action": "dwell", "value": True}}
    good = read(own(tmp_path, {"events": {"impressions": "rows", "action_columns": columns}})).good
    assert sorted(good.select("post_id", "action", "value").rows(), key=str) == [
        (5, "click", None),
        (5, "dwell", 2.5),
        (5, "impression", None),
        (6, "impression", None),
        (6, "like", None),
        (7, "impression", None),
    ]
    assert good["event_id"].n_unique() == good.height


def test_ratings_become_likes_and_dislikes_by_threshold(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "events.csv", "user_id,post_id,occurred_at,rating\n1,5,881250949,5\n1,6,881250949,1\n1,7,881250949,3\n"
    )
    rules = [{"action": "like", "at_least": 4}, {"action": "not_interested", "at_most": 2}]
    adapter = own(tmp_path, {"events": {"impressions": "rows", "action_columns": {"rating": rules}}})
    acted = read(adapter).good.filter(action="impression").height, read(adapter).good.sort("post_id")
    assert acted[0] == 3
    assert [(row["post_id"], row["action"]) for row in acted[1].to_dicts() if row["action"] != "impression"] == [
        (5, "like"),
        (6, "not_interested"),
    ]
    assert any("Every row counts as an impression" in note for note in adapter.notes)


def test_values_are_brought_to_milliseconds(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "user_id,post_id,action,occurred_at,value\n1,5,dwell,2025-01-01,2.5\n")
    assert read(own(tmp_path, {"events": {"value_times": 1000}})).good.filter(action="dwell")["value"].to_list() == [2500.0]


def test_a_file_without_a_header_and_with_an_odd_delimiter(tmp_path: Path) -> None:
    write_csv(tmp_path / "ratings.dat.csv", "1::1193::5::978300760\n1::661::3::978302109\n")
    mapping = {"files": "ratings.dat.csv", "delimiter": "::", "header": ["user_id", "post_id", "stars", "occurred_at"]}
    good = read(own(tmp_path, {"events": mapping | {"action": "like"}})).good.filter(action="like")
    assert good.select("user_id", "post_id").rows() == [(1, 1193), (1, 661)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("evnts: {}", "evnts is no key of a mapping"),
        ("events: {columns: {usr: who}}", "events.columns.usr"),
        ("events: {actions: {view: seen}}", "'seen' is no action; choose from impression"),
        ("events: {actions: {play: {action: own}}}", "needs a name"),
        ("events: {time: yesterday}", "'yesterday' is none of auto, iso"),
        ("events: {time: {zone: Mars/Base}}", "'Mars/Base' is no time zone"),
        ("events: {action: click, columns: {action: did}}", "both given"),
        ("earliest: never", "earliest"),
        ("- a\n- b", "holds a list"),
        ("events: [", "not readable as YAML"),
    ],
)
def test_what_a_mapping_can_not_mean_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mapping.yaml").write_text(text)
    with pytest.raises(MalformedFile, match=told) as caught:
        read_mapping(tmp_path / "mapping.yaml")
    assert "mapping.yaml" in str(caught.value)


def test_a_mapped_column_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", LOG)
    with pytest.raises(MalformedFile, match="column 'whoo'.*is it 'who'"):
        read(own(tmp_path, {"events": {"columns": {"user_id": "whoo"}}}))


def test_a_mapped_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match="log.csv: the mapping names this file and it is not there"):
        read(own(tmp_path, {"events": {"files": "log.csv"}}))


def test_without_an_action_the_remedy_is_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "user_id,post_id,occurred_at\n1,5,2025-01-01\n")
    with pytest.raises(MalformedFile, match="nothing says what users did; map a column"):
        read(own(tmp_path))


def test_yaml_keys_that_are_numbers_or_truths_match_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "user_id,post_id,occurred_at,action\n1,5,2025-01-01,0\n1,5,2025-01-01,1\n")
    (tmp_path / "mapping.yaml").write_text("events:\n  actions: {0: impression, 1: click}\n")
    assert read(own(tmp_path)).good["action"].to_list() == ["impression", "click"]
