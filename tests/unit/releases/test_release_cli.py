"""`mixer release` in the terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from flows.cli.release import releases_table
from flows.steps.release_asker import release_asker
from infra.settings import Settings
from services.releases.ledger import Ledger
from services.releases.people import People
from services.releases.roles import Role
from tests.unit.releases.made_releases import approved_live, built


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_folds_why_and_cuts_nothing(tmp_path, width):
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    ledger = Ledger(url)
    built(ledger, "r1")
    ledger.transition("r1", "live", "flow:release", "first release: nothing to compare with; readiness passed")
    built(ledger, "r2")
    approved_live(ledger, url, "r2")
    console = Console(width=width, file=StringIO())
    releases = ledger.releases()
    console.print(releases_table(releases, width), crop=False)
    shown = console.file.getvalue()
    assert "…" not in shown
    for one in releases:
        assert any(
            all(whole in line for whole in (one.release_id, str(one.state), one.entry.at[:19])) for line in shown.splitlines()
        )
    assert "(flow)" in shown


def test_a_release_is_asked_for_by_the_person_whose_token_it_is(tmp_path):
    people = People(Settings(home=tmp_path).platform_database_url)
    rita, vera = people.add("Rita", Role.OPERATOR), people.add("Vera", Role.VIEWER)
    assert release_asker(Settings(home=tmp_path, token=rita), "Ada", "challenger") == "Rita"
    with pytest.raises(RuntimeError, match="no release of challenger was made: Vera is a viewer; release needs an operator"):
        release_asker(Settings(home=tmp_path, token=vera), "Ada", "challenger")
    with pytest.raises(RuntimeError, match="the token is nobody's; send"):
        release_asker(Settings(home=tmp_path, token="guess"), "Ada", "challenger")
    assert [one["who"] for one in people.refusals()] == ["", "Vera"]


def test_without_a_token_of_ones_own_the_machines_token_opens_under_the_name_given(tmp_path, monkeypatch):
    assert release_asker(Settings(home=tmp_path), " Ada ", "challenger") == "Ada"
    with pytest.raises(RuntimeError, match="with MIXER_FOUR_EYES the ledger has to know who asks"):
        release_asker(Settings(home=tmp_path, four_eyes=True), " ", "challenger")

    def not_ours(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("infra.storage.Paths.admin_token", not_ours)
    with pytest.raises(RuntimeError, match="readable by the machine's owner only; set MIXER_TOKEN"):
        release_asker(Settings(home=tmp_path), "Ada", "challenger")
