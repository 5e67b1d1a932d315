"""What was live at a moment that has passed, and what was published of the ledger."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from infra.settings import get_settings
from services.releases.ledger import Ledger
from services.releases.past import moment_of, route_at, served_at
from services.releases.published_heads import PublishedHeads
from services.releases.split import in_canary
from tests.unit.releases.made_releases import approved_live, built

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'platform.db'}"


@pytest.fixture
def entries(url):
    """r1 live at minute 1, r2 a canary of 25 % at minute 3, live at minute 5, rolled back at minute 7; an entry a minute."""
    ledger = Ledger(url)
    built(ledger, "r1")
    ledger.transition("r1", "live", "flow", "first release")
    built(ledger, "r2")
    approved_live(ledger, url, "r2")
    ledger.transition("r2", "rolled_back", "Ada", "worse")
    return [replace(entry, at=(BEGIN + timedelta(minutes=place)).isoformat()) for place, entry in enumerate(ledger.entries())]


def test_each_moment_has_the_route_of_the_last_entry_before_it(entries):
    states = [(str(entry.state), entry.release_id) for entry in entries]
    seen = [route_at(entries, BEGIN + timedelta(minutes=place, seconds=30)) for place in range(len(entries))]
    assert route_at(entries, BEGIN - timedelta(seconds=1)).live is None
    assert seen[states.index(("built", "r1"))].live is None
    canary = seen[states.index(("canary", "r2"))]
    assert (canary.live, canary.canary, canary.canary_percent) == ("r1", "r2", 25)
    assert (seen[states.index(("live", "r2"))].live, seen[-1].live) == ("r2", "r1")


def test_a_user_belonged_to_the_release_that_the_split_said(entries):
    during = next(datetime.fromisoformat(entry.at) for entry in entries if entry.state == "canary") + timedelta(seconds=1)
    for user in range(40):
        assert served_at(entries, during, user) == ("r2" if in_canary(user, "r2", 25) else "r1")
    assert served_at(entries, BEGIN, 7) is None


def test_a_time_without_a_zone_is_utc_and_no_time_is_refused_with_an_example():
    assert moment_of("2026-01-31T18:30") == moment_of("2026-01-31T20:30+02:00") == datetime(2026, 1, 31, 18, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="'yesterday' is no time; write it as 2026-01-31T18:30"):
        moment_of("yesterday")
    with pytest.raises(ValueError, match="2999-01-01T00:00 has not been yet"):
        moment_of("2999-01-01T00:00")


def test_the_command_says_who_was_live(entries, url, monkeypatch):
    from flows.cli.release import release

    monkeypatch.setenv("MIXER_DATABASE_URL", url)
    get_settings.cache_clear()
    try:
        assert CliRunner().invoke(release, ["at", datetime.now(UTC).isoformat()]).output == "r1 was live\n"
        assert (
            CliRunner().invoke(release, ["at", datetime.now(UTC).isoformat(), "--user", "x7"]).output
            == "user x7 belonged to r1\n"
        )
        assert "nothing was live" in CliRunner().invoke(release, ["at", "2000-01-01", "--user", "x7"]).output
    finally:
        get_settings.cache_clear()


# ---- published heads ----------------------------------------------------------------------------------------------
@pytest.fixture
def heads(tmp_path) -> PublishedHeads:
    return PublishedHeads(tmp_path / "releases")


def test_a_head_is_published_once_and_fits_a_whole_ledger(url, heads):
    ledger = Ledger(url)
    built(ledger, "r1")
    assert heads.publish(ledger.entries()[-1])
    assert not heads.publish(ledger.entries()[-1])
    ledger.transition("r1", "live", "flow", "first release")
    assert ledger.verify(heads) == []
    assert heads.publish(ledger.entries()[-1])
    assert [seq for seq, _ in heads.all()] == [1, 2]


def test_a_tail_that_was_cut_off_with_its_pointer_shows(tmp_path, url, heads):
    """Whoever owns the database can cut it so that it fits itself: back to an earlier copy, for one."""
    ledger = Ledger(url)
    built(ledger, "r1")
    with sqlite3.connect(tmp_path / "platform.db") as source, sqlite3.connect(tmp_path / "early.db") as copy:
        source.backup(copy)
    ledger.transition("r1", "live", "flow", "first release")
    heads.publish(ledger.entries()[-1])
    earlier = Ledger(f"sqlite:///{tmp_path / 'early.db'}")
    assert earlier.verify() == []
    assert len(earlier.verify(heads)) == 1
    assert "the ledger's tail was cut off" in earlier.verify(heads)[0]


def test_a_ledger_that_was_written_anew_shows(tmp_path, url, heads):
    ledger, forged = Ledger(url), Ledger(f"sqlite:///{tmp_path / 'forged.db'}")
    for one, name in ((ledger, "r1"), (forged, "r9")):
        built(one, name)
    heads.publish(ledger.entries()[-1])
    assert forged.verify() == []
    assert "the ledger was rewritten" in forged.verify(heads)[0]


def test_a_line_that_a_crash_cut_off_is_no_head_and_one_in_the_middle_is_a_fault(tmp_path, url, heads):
    ledger = Ledger(url)
    built(ledger, "r1")
    heads.publish(ledger.entries()[-1])
    file = tmp_path / "releases" / "heads.jsonl"
    file.write_text(file.read_text() + '{"seq": 2, "ha')
    assert [seq for seq, _ in heads.all()] == [1]
    ledger.transition("r1", "live", "flow", "first release")
    heads.publish(ledger.entries()[-1])
    assert [seq for seq, _ in heads.all()] == [1, 2]
    file.write_text('{"seq": 2, "ha\n' + file.read_text())
    with pytest.raises(ValueError, match="heads.jsonl:1 is no published head"):
        heads.all()
    assert any("heads.jsonl:1 is no published head" in problem for problem in ledger.verify(heads))


@pytest.mark.parametrize("line", [b"null", b"\xff\xfe", b"[]", b'{"seq": "x", "hash": "y"}'])
def test_whatever_stands_in_the_file_is_a_problem_in_words(tmp_path, url, heads, line):
    ledger = Ledger(url)
    built(ledger, "r1")
    heads.publish(ledger.entries()[-1])
    file = tmp_path / "releases" / "heads.jsonl"
    file.write_bytes(line + b"\n" + file.read_bytes())
    assert any("is no published head" in problem for problem in ledger.verify(heads))


def test_the_list_of_releases_takes_any_text_for_a_reason(url, monkeypatch):
    from flows.cli.release import release

    ledger = Ledger(url)
    built(ledger, "r1")
    ledger.transition("r1", "live", "[/somebody]", "see [/bug 12]")
    monkeypatch.setenv("MIXER_DATABASE_URL", url)
    get_settings.cache_clear()
    try:
        shown = CliRunner().invoke(release, ["list"], env={"COLUMNS": "300"})
    finally:
        get_settings.cache_clear()
    assert shown.exit_code == 0
    assert "see [/bug 12]" in shown.output
