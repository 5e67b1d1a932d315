"""Simulated people in front of a real gateway: a closed loop that outlives kills, errors and a door that is shut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from feature_repo.datasets.adapter import open_world
from feature_repo.datasets.ingest import ingest
from feature_repo.lake import Lake
from flows.demo.traffic.visitor_state import VisitorFile
from flows.demo.traffic.world_home import Asked, let_live
from infra.settings import Settings
from tests.free_ports import free_port
from tests.integration.gateway_rig import Rig, running_gateway
from tests.integration.world_arm import WorldArm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FAST = 20_000.0  # a world day in about four seconds


@pytest.fixture
def rig(tmp_path) -> Iterator[Rig]:
    made = Settings(home=tmp_path, world_users=100, world_posts=400)
    ingest(open_world(made), Lake(made.paths.lake), Lake(made.paths.holdout), hold_out=False)
    with running_gateway(tmp_path) as rig:
        rig.settings = made.model_copy(update={"gateway_port": rig.client.base_url.port})
        yield rig


def live(settings: Settings, seconds: float = 3.0, **asked) -> dict:
    chosen = Asked(speed=FAST, people=None, lasts=timedelta(seconds=seconds), pages_per_s=None, seed=None)
    return let_live(settings, Asked(**{**chosen.__dict__, **asked}), threading.Event(), Console(quiet=True))


def visit_of(request_id: str) -> str:
    return request_id.rpartition("-")[0]


def test_people_answer_what_they_were_served_and_a_later_call_goes_on(rig):
    arm = rig.live(WorldArm("r1", rig.settings))
    first = live(rig.settings)
    assert first["label"] == "simulated" and first["by_release"]["r1"]["share_of_pages"] == 1.0
    assert first["pages"] == len(arm.pages) > 20
    assert (first["events_accepted"], first["events_rejected"], first["page_errors"]) == (len(arm.events), 0, 0)
    for event in arm.events:
        user, posts = arm.pages[event["request_id"]]
        assert (event["user_id"], event["post_id"] in posts) == (user, True)
    actions = Counter(event["action"] for event in arm.events)
    assert actions["impression"] == first["by_release"]["r1"]["posts_seen"]
    assert actions["click"] == first["by_release"]["r1"]["clicks"] > 0
    assert {"/for_you", "/following"} == {request["path"] for request in arm.asked}
    assert first["satisfaction"]["mean_move_of_a_person"] > 0
    assert first["posts_published"] > 0

    before = {visit_of(request) for request in arm.pages}
    second = live(rig.settings)
    after = {visit_of(request) for request in arm.pages} - before
    assert second["visits"] == first["visits"] + len(after)  # none was repeated, none was lost
    assert second["world_time"] > first["world_time"]
    moments = [event["occurred_at"] for event in arm.events]
    assert len({event["event_id"] for event in arm.events}) == len(moments)


def test_errors_of_the_platform_are_visits_without_a_page_and_end_nothing(rig):
    arm = rig.live(WorldArm("r1", rig.settings, fails=3))
    summary = live(rig.settings)
    failed = len(arm.asked) // 3
    assert summary["page_errors"] == failed > 5
    assert summary["pages"] == len(arm.asked) - failed
    assert summary["first_error"].startswith("500 at /f") and "planted" in summary["first_error"]
    assert summary["stopped"] == "the time given is over"


def test_who_finds_nothing_new_of_those_one_follows_turns_to_the_other_timeline(rig):
    arm = rig.live(WorldArm("r1", rig.settings, follows=False))
    summary = live(rig.settings)
    turned = {request["request_id"] for request in arm.asked if request["path"] == "/following"}
    assert summary["empty_pages"] == len(turned) > 0
    assert turned <= {request["request_id"] for request in arm.asked if request["path"] == "/for_you"}
    assert {event["product"] for event in arm.events} == {"for_you"}


def test_each_release_has_its_own_share_and_clicks(rig):
    rig.live(WorldArm("r1", rig.settings))
    rig.canary(WorldArm("r2", rig.settings))
    summary = live(rig.settings)
    shares = {name: one["share_of_pages"] for name, one in summary["by_release"].items()}
    assert set(shares) == {"r1", "r2"} and sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert all(one["clicks_per_page"] > 0 for one in summary["by_release"].values())


def test_a_cap_of_requests_slows_the_world(rig):
    rig.live(WorldArm("r1", rig.settings))
    summary = live(rig.settings, pages_per_s=4.0)
    assert summary["pages"] <= 4 * 3 + 4 * 5 + 1  # while it lived, and while the visits under way ended
    assert summary["this_run"]["speed_held"] < 0.7 * FAST


def test_a_gateway_that_cannot_be_reached_is_waited_for_and_nobody_is_lost(rig):
    shut = rig.settings.model_copy(update={"gateway_port": free_port()})
    said = Console(record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    asked = Asked(speed=FAST, people=None, lasts=timedelta(seconds=2), pages_per_s=None, seed=None)
    summary = let_live(shut, asked, threading.Event(), said)
    assert "can't be reached" in said.export_text()
    assert (summary["visits"], summary["page_errors"]) == (0, 0)
    rig.live(WorldArm("r1", rig.settings))
    assert live(rig.settings)["visits"] > 5


def test_sigterm_ends_the_process_with_its_checkpoint_and_its_summary(rig, tmp_path):
    rig.live(WorldArm("r1", rig.settings))
    command = "from flows.cli.app import main; main()"
    arguments = ["traffic", "world", "--speed", str(FAST), "--json"]
    environment = rig.settings.process_environment({})
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    file = VisitorFile(rig.settings.paths.runs / "visitors")
    try:
        rig.until(file.file.exists, 60)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    summary = json.loads(output)
    assert (process.returncode, summary["stopped"]) == (0, "asked to leave")
    seed = f"world {open_world(rig.settings).fingerprint()} and seed {rig.settings.seed}"
    assert file.load(seed).tally.visits == summary["visits"] > 0
