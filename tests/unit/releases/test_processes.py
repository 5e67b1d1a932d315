"""The processes of releases that ended are stopped, also those that no release flow came to register."""

from __future__ import annotations

from infra.process_spec import ProcessSpec
from infra.settings import Settings
from services.releases.ledger import Ledger
from services.releases.processes import Arms
from tests.unit.releases.made_releases import built


def test_a_mixer_whose_release_was_taken_out_while_it_started_is_stopped(tmp_path):
    settings = Settings(home=tmp_path)
    arms = Arms(settings, Ledger(settings.platform_database_url))
    built(arms.ledger, "r1", "r2")
    arms.ledger.transition("r1", "live", "flow", "first release")
    arms.ledger.remove_arm("r2")  # it was not ready yet
    for name in ("mixer-r1", "mixer-r2"):
        arms.supervisor.start(ProcessSpec(name, ("sleep", "60")))
    try:
        assert arms.retire_old() == []  # r2 may still come
        arms.ledger.transition("r2", "rolled_back", "Prefect", "cancelled")
        assert arms.retire_old() == ["r2"]
        assert [process.name for process in arms.supervisor.running()] == ["mixer-r1"]
        assert arms.retire_old() == []
    finally:
        arms.supervisor.stop_all()
