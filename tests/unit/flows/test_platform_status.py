"""What `mixer status` says below its table."""

from __future__ import annotations

from flows.cli.platform_status import releases_said, said_below
from flows.steps.platform import Platform
from infra.process_events import ProcessEvents
from infra.process_spec import ProcessSpec
from infra.settings import Settings
from services.releases.ledger import Ledger
from services.releases.route import Route
from tests.unit.releases.made_releases import built


def test_the_releases_with_traffic_are_named():
    assert releases_said(Route(live="r2", canary="r3", canary_percent=25.0)) == ["live: r2", "canary: r3, for 25 % of users"]
    assert releases_said(Route()) == ["live: no release; `mixer start` makes the first", "canary: none"]


def test_the_last_death_is_told_and_the_releases_of_a_platform_that_is_up(tmp_path):
    platform = Platform(Settings(home=tmp_path))
    assert said_below(platform) == []
    events = ProcessEvents(platform.settings.paths.pids)
    events.add("outcomes", "died", "pid 7, exit code 1; started again at once")
    death = events.add("broker", "died", "pid 9, killed by SIGKILL; started again at once")
    events.add("broker", "restarted", "pid 10")
    told = f"last death: broker at {death.at[:19]} UTC: pid 9, killed by SIGKILL; started again at once"
    assert said_below(platform) == [told]
    wanted = platform.settings.paths.pids / "wanted"
    wanted.mkdir()
    (wanted / "gateway.json").write_text(ProcessSpec("gateway", ("gateway",)).to_json())
    ledger = Ledger(platform.settings.platform_database_url)
    built(ledger, "r1")
    ledger.transition("r1", "live", "flow", "first release")
    assert said_below(platform) == [told, "live: r1", "canary: none"]
