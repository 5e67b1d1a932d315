"""A release's process: started from its bento, registered as an arm of the router, stopped after its last request."""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from infra import processes
from infra.process_spec import ProcessFailed, ProcessSpec
from infra.settings import Settings
from infra.storage import replace_atomically
from infra.supervisor import Supervisor, free_port
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState

log = structlog.get_logger("releases.processes")


class Arms:
    """The mixer processes of the releases in the ledger."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.supervisor = Supervisor(settings)

    def start(self, release_id: str, *, keep: bool = False) -> str:
        """Start (or adopt) the release's mixer, wait until it answers, register it; returns its address.

        keep: where it does not come up, let the keeper try on; else it is stopped. Raises ProcessFailed.
        """
        known = self.ledger.arms().get(release_id)
        if known and self.supervisor.find(processes.mixer_name(release_id)):
            self.supervisor.wait_ready(self._spec(release_id, int(known.rsplit(":", 1)[1])))
            return known
        self.supervisor.stop(processes.mixer_name(release_id))
        port = free_port(self.settings.host, self.settings.mixer_base_port)
        spec = self._spec(release_id, port)
        try:
            self.supervisor.start(spec)
            self.supervisor.wait_ready(spec)
        except ProcessFailed:
            if not keep:
                self.supervisor.stop(spec.name)
            raise
        address = f"http://{self.settings.host}:{port}"
        self.ledger.register_arm(release_id, address)
        return address

    def stop(self, release_id: str) -> None:
        """Take the arm from the router's list, then stop its process."""
        self.ledger.remove_arm(release_id)
        self.supervisor.stop(processes.mixer_name(release_id))

    def retired(self) -> list[str]:
        """The retired releases, the newest first."""
        retired = [release for release in self.ledger.releases() if release.state is ReleaseState.RETIRED]
        return [release.release_id for release in sorted(retired, key=lambda release: -release.entry.seq)]

    def start_standby(self) -> list[tuple[str, str]]:
        """Start the newest retired release that can start; returns it with its address, after those that can't start."""
        tried = []
        for release_id in self.retired():
            try:
                return [*tried, (release_id, self.start(release_id))]
            except ProcessFailed as error:
                self.ledger.remove_arm(release_id)
                log.error("the standby can't start", release=release_id, error=str(error))
                tried.append((release_id, "can't start"))
        return tried

    def retire_old(self) -> list[str]:
        """Stop arms that no longer serve, but for the standby; returns their releases."""
        ended = (ReleaseState.RETIRED, ReleaseState.ROLLED_BACK)
        standby, releases = self.ledger.standby(), self.ledger.releases()
        old = [release for release in releases if release.state in ended and release.release_id != standby]
        # A flow that was cancelled while it started a mixer registered no arm, and the keeper keeps that mixer.
        kept = set(self.supervisor.wanted_names())
        stopped = [one.release_id for one in old if one.arm_url or processes.mixer_name(one.release_id) in kept]
        for release_id in stopped:
            self.stop(release_id)
        return stopped

    def _spec(self, release_id: str, port: int) -> ProcessSpec:
        from services.mixer.bento import serve_command

        manifest = self.ledger.manifest(release_id)
        command = tuple(serve_command(self.settings, manifest.bento_tag, port))
        return processes.mixer(self.settings, release_id, command, port, self._manifest_file(release_id))

    def _manifest_file(self, release_id: str) -> Path:
        file = self.settings.paths.releases / release_id / "manifest.json"
        with replace_atomically(file) as temporary:
            temporary.write_text(json.dumps(json.loads(self.ledger.manifest(release_id).model_dump_json()), indent=2))
        return file
