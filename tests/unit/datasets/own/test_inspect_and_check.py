"""`inspect` guesses the mapping of files that nobody described; `check` says what ingestion would say and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.check import check
from feature_repo.datasets.own.guess import guess_mapping
from feature_repo.datasets.own.inspection import MappingExists, inspect
from flows.cli.dataset import data
from infra.settings import Settings
from tests.own_files import event, own, read, write_csv, write_lines

SHOP = "timestamp,visitorid,event,itemid\n1433221332117,1,view,9\n1433224214164,2,addtocart,9\n1433221999827,1,transaction,8\n"
NEWS = (
    "impression_id,user,news_id,action,time,page\n1,anna,N1,impression,11/15/2019 9:05:58 AM,front\n"
    "2,anna,N1,click,11/15/2019 9:06:00 AM,front\n"
)


def test_columns_and_actions_of_a_shop_are_guessed(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", SHOP)
    events = guess_mapping(tmp_path).mapping["events"]
    assert events["columns"] == {"user_id": "visitorid", "post_id": "itemid", "action": "event", "occurred_at": "timestamp"}
    assert events["actions"]["view"] == "click"
    assert events["actions"]["transaction"] == {"action": "own", "name": "purchase", "kind": "liked"}


def test_a_view_beside_clicks_is_an_impression(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", "uid,item,type,ts\n1,2,view,2025-01-01\n1,2,open,2025-01-01\n")
    guess = guess_mapping(tmp_path)
    assert guess.mapping["events"]["actions"] == {"open": "click", "view": "impression"}
    assert any("'view' is taken for an impression" in doubt for doubt in guess.doubts)


def test_an_unknown_action_is_skipped_and_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", "uid,item,type,ts\n1,2,zap,2025-01-01\n1,2,open,2025-01-01\n")
    guess = guess_mapping(tmp_path)
    assert guess.mapping["events"]["actions"]["zap"] is None
    assert any("'zap' is not known" in doubt for doubt in guess.doubts)


def test_columns_of_0_and_1_ratings_and_plays_are_guessed(tmp_path: Path) -> None:
    write_csv(tmp_path / "a" / "log.csv", "user_id,video_id,is_click,is_like,time_ms\n1,2,1,0,1650000000000\n")
    assert guess_mapping(tmp_path / "a").mapping["events"]["action_columns"] == {"is_click": "click", "is_like": "like"}
    write_csv(tmp_path / "b" / "ratings.csv", "userId,movieId,rating,timestamp\n1,2,5.0,964982703\n1,3,1.0,964982703\n")
    rules = guess_mapping(tmp_path / "b").mapping["events"]["action_columns"]["rating"]
    assert rules == [{"action": "like", "at_least": 4.0}, {"action": "not_interested", "at_most": 2.0}]
    write_csv(tmp_path / "c" / "plays.tsv", "user\ttrack\twhen_played\nu1\tt1\t2025-01-01T10:00:00\n")
    events = guess_mapping(tmp_path / "c").mapping["events"]
    assert events["columns"]["occurred_at"] == "when_played" and events["action"] == "click"


def test_files_of_a_folder_are_told_apart_by_name(tmp_path: Path) -> None:
    write_csv(tmp_path / "behaviors.csv", NEWS)
    write_csv(tmp_path / "news.csv", "news_id,title,category\nN1,hello,sport\n")
    write_csv(tmp_path / "users.csv", "user,country\nanna,FR\nben,DE\ncleo,FR\ndan,DE\n")
    write_csv(tmp_path / "follows.csv", "follower,followee\nanna,ben\n")
    mapping = guess_mapping(tmp_path).mapping
    assert {name: table["files"] for name, table in mapping.items()} == {
        "events": "behaviors.csv",
        "posts": "news.csv",
        "users": "users.csv",
        "edges": "follows.csv",
    }
    assert mapping["users"]["attributes"] == ["country"]
    assert mapping["edges"]["columns"] == {"user_id": "follower", "target_id": "followee"}


def test_what_is_written_is_read_back_and_never_overwritten_without_being_asked(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", NEWS)
    found = inspect(tmp_path)
    assert found.rows["user_id"].to_list() == ["anna", "anna"]
    written = found.write().read_text()
    assert read(own(tmp_path)).good["action"].to_list() == ["impression", "click"]
    with pytest.raises(MappingExists, match="--force"):
        found.write()
    assert found.write(force=True).read_text() == written


def test_a_file_without_a_header_is_told(tmp_path: Path) -> None:
    write_csv(tmp_path / "u.tsv", "196\t242\t3\t881250949\n")
    guess = guess_mapping(tmp_path / "u.tsv")
    assert guess.mapping["events"]["header"] == ["column_1", "column_2", "column_3", "column_4"]
    assert any("no header line" in doubt for doubt in guess.doubts)
    assert any("no column looks like user_id" in doubt for doubt in guess.doubts)


def test_check_names_file_row_value_and_remedy_and_writes_nothing(tmp_path: Path) -> None:
    rows = [event(n, n % 3) for n in range(9)] + [event(20, user_id=None), event(21, occurred_at="2106-02-07"), event(3)]
    write_lines(tmp_path / "events.jsonl", rows)
    before = sorted(file.name for file in tmp_path.rglob("*"))
    report = check(tmp_path)
    assert report.accepted and report.counts.events == 9 and report.counts.repeats == 1
    assert report.days == ("2025-01-01", "2025-01-03")
    told = {fault.reason: fault.rows for fault in report.faults.values()}
    late = "occurred_at is in the future, more than 1 h ahead: correct the clock or the zone"
    assert told[late] == [("events.jsonl", 11, "occurred_at", "2106-02-07")]
    assert sorted(file.name for file in tmp_path.rglob("*")) == before


def test_check_counts_rows_of_one_reason_together_and_shows_the_first_three(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "events.jsonl", [*(event(n) for n in range(9)), *(event(30 + n, action=f"zap{n}") for n in range(5))]
    )
    (fault,) = check(tmp_path).faults.values()
    assert fault.count == 5 and fault.reason.startswith("action is not mapped")
    assert [(row, value) for _, row, _, value in fault.rows] == [(10, "zap0"), (11, "zap1"), (12, "zap2")]


def test_check_lists_every_column_that_can_not_be_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(1, user_id=1.5, occurred_at=1995)])
    write_lines(tmp_path / "posts.jsonl", [{"post_id": True}])
    refusals = check(tmp_path).refusals
    assert len(refusals) == 3
    for told, refusal in zip(("1.5 is no whole number", "looks like a year", "boolean"), refusals, strict=True):
        assert told in refusal and "row 1" in refusal


def test_the_commands_print_plain_text_and_tell_by_their_exit_code(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("flows.cli.dataset.get_settings", lambda: Settings(home=tmp_path / "var"))
    write_csv(tmp_path / "events.csv", SHOP)
    shell = CliRunner()
    shown = shell.invoke(data, ["inspect", str(tmp_path), "--write"])
    assert shown.exit_code == 0 and "visitorid" in shown.output and "purchase" in shown.output
    assert (tmp_path / "mapping.yaml").exists()
    good = shell.invoke(data, ["check", str(tmp_path)])
    assert good.exit_code == 0 and "can be ingested" in good.output
    write_csv(tmp_path / "events.csv", SHOP.replace("1433221332117", "soon"))
    (tmp_path / "mapping.yaml").unlink()
    bad = shell.invoke(data, ["check", str(tmp_path)])
    assert bad.exit_code == 1 and "would be refused" in bad.output
    assert "\x1b" not in shown.output + good.output + bad.output


def test_check_says_which_rows_validation_would_set_aside_with_the_owners_ids(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("flows.cli.dataset.get_settings", lambda: Settings(home=tmp_path / "home"))
    write_lines(tmp_path / "log" / "events.jsonl", [event(n, n % 9, position=-3 if n == 7 else 1) for n in range(200)])
    write_lines(tmp_path / "log" / "users.jsonl", [{"user_id": "anna", "followers": -1}])
    told = CliRunner().invoke(data, ["check", str(tmp_path / "log")])
    assert told.exit_code == 1
    assert "can be ingested, but validation would fail" in told.output
    assert "events: 1 of 200 rows (0.50%) break the rule 'position_in_range', such as event_id = e7" in told.output
    assert "such as user_id = anna, followers = -1" in told.output
    assert "users: 'followers_in_range' is broken by 1 rows (50.00%; bound 1.00%): a count is not negative." in told.output
    assert "'position_in_range' is broken" not in told.output
    assert not (tmp_path / "home").exists()


def test_many_rows_left_out_or_counted_once_are_doubtful(tmp_path: Path) -> None:
    rows = [event(n, n % 9) for n in range(90)]
    write_lines(tmp_path / "events.jsonl", [*rows, event(90, user_id=None), event(91, user_id=None), *rows[:5]])
    doubts = " ".join(check(tmp_path).doubts)
    assert "2 of 97 rows (2.1%) are left out, most often (2 rows) because user_id" in doubts
    assert "5 of 97 rows (5.2%) have the event_id of another row and count once with it. Check that column 'event_id'" in doubts
    write_lines(tmp_path / "events.jsonl", [*rows, *(event(n, n % 9) for n in range(100, 120)), rows[0]])
    assert check(tmp_path).doubts == []


def test_the_log_is_found_by_its_columns_where_no_name_tells(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", "sku,title\n" + "".join(f"{n},a long title of a thing to sell\n" for n in range(50)))
    write_csv(tmp_path / "b.csv", "visitorid,itemid,event,timestamp\n1,2,view,1433221332117\n")
    guess = guess_mapping(tmp_path)
    assert guess.mapping["events"]["files"] == "b.csv"
    assert any("left out" in doubt and "those of b.csv: a.csv." in doubt for doubt in guess.doubts)


def test_inspect_says_that_a_mapping_is_there_and_fails_where_no_row_is_mapped(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", NEWS)
    assert CliRunner().invoke(data, ["inspect", str(tmp_path), "--write"]).exit_code == 0
    told = CliRunner().invoke(data, ["inspect", str(tmp_path)])
    assert told.exit_code == 0 and "is there already and is what `mixer data check` and the ingestion read" in told.output
    write_csv(tmp_path / "late" / "log.csv", NEWS.replace("2019", "2106"))
    told = CliRunner().invoke(data, ["inspect", str(tmp_path / "late")])
    assert told.exit_code == 1 and "no row is mapped yet" in told.output
    write_csv(tmp_path / "other" / "log.csv", "a,b,c\nx,y,z\n")
    told = CliRunner().invoke(data, ["inspect", str(tmp_path / "other")])
    assert told.exit_code == 1 and "no row is mapped yet" in told.output


def test_an_event_id_of_the_kind_that_the_platform_makes_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "events.jsonl", [event(n) for n in range(9)] + [event(9, event_id="derived-1")])
    (fault,) = check(tmp_path).faults.values()
    assert fault.reason.startswith("event_id begins with 'derived-' or 'sampled-'")
    assert fault.rows == [("events.jsonl", 10, "event_id", "derived-1")]


def test_a_file_of_a_header_alone_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", "user_id,post_id,action,occurred_at\n")
    with pytest.raises(MalformedFile, match="log.csv: the file has no rows below its header"):
        guess_mapping(tmp_path)


def test_a_column_that_is_missing_names_the_command_that_guesses(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "who,post_id,action,occurred_at\n1,2,click,2025-01-01\n")
    with pytest.raises(MalformedFile, match=r"no column stands for user_id; .* let `mixer data inspect .* --write` guess"):
        _ = own(tmp_path).columns


def test_a_text_of_nan_among_times_costs_its_row_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "user_id,post_id,action,occurred_at\n1,2,click,NaN\n1,3,click,2025-05-01T10:00:00\n")
    adapter = own(tmp_path)
    assert set(read(adapter).good["post_id"]) == {3}
    (reason,) = adapter.counts.reasons
    assert "occurred_at" in reason


def test_columns_that_the_guess_leaves_unused_are_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", "uid,item,type,ts,stars,shelf\n1,2,open,2025-01-01,4,a\n1,3,open,2025-01-02,5,b\n")
    assert "events: columns stars, shelf are not used; map what you need under `columns`." in inspect(tmp_path).notes
    write_csv(tmp_path / "log.csv", "uid,item,type,ts\n1,2,open,2025-01-01\n1,3,open,2025-01-02\n")
    assert not [note for note in inspect(tmp_path).notes if "not used" in note]
