"""`mixer release` in the terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from flows.cli.release import releases_table
from services.releases.ledger import Ledger
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
