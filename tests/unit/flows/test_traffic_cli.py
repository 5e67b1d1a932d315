"""`mixer traffic world` refuses what cannot be, each in one clear sentence."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from rich.console import Console

from feature_repo.lake import Lake
from flows.cli.traffic import duration_of, world
from flows.demo.traffic.world_home import Asked, NoWorld, home_world, let_live
from flows.steps.lakes import NothingIngested
from infra.settings import Settings

ASKED = Asked(speed=60, people=None, lasts=timedelta(seconds=1), pages_per_s=None, seed=None)


def home(tmp_path, **marker) -> Settings:
    settings = Settings(home=tmp_path, world_users=50, world_posts=100)
    Lake(settings.paths.lake).mark("dataset", {"name": "world", "label": "world (simulated)", "day_offset_s": 0, **marker})
    return settings


def test_a_home_of_real_users_is_refused(tmp_path):
    settings = home(tmp_path, name="kuairand", label="KuaiRand-Pure", fingerprint="x")
    with pytest.raises(NoWorld, match=r"holds KuaiRand-Pure, whose users nobody can simulate: .*MIXER_DATASET=world$"):
        let_live(settings, ASKED, threading.Event(), Console(quiet=True))
    assert not settings.paths.runs.exists()


def test_a_home_without_data_says_what_to_run_first(tmp_path):
    with pytest.raises(NothingIngested, match="mixer run ingest"):
        home_world(Settings(home=tmp_path))


def test_another_world_than_the_homes_is_refused(tmp_path):
    from feature_repo.datasets.adapter import open_world

    made = Settings(home=tmp_path, world_users=60, world_posts=100)
    settings = home(tmp_path, fingerprint=f"{open_world(made).fingerprint()}-v1-all")
    assert home_world(made).config.users == 60
    with pytest.raises(NoWorld, match="another simulated world than MIXER_SEED=7, MIXER_WORLD_USERS=50 and"):
        home_world(settings)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7_200), ("1.5d", 129_600)])
def test_times_are_read(text, seconds):
    assert duration_of(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "m", "-3m", "3 m", "1w"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="such as 90s"):
        duration_of(text)


def test_an_end_and_no_end_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        world(lasts="3m", until_stopped=True)
