"""A small world's platform and a bundle for it, which files of later exposures are judged by."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from infra.settings import Settings
from tests.small_home import SMALL, make_home, untrained_bundle


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("judged"), online_store="sqlite")
    make_home(settings, replace(SMALL, start=date(2022, 4, 25)))  # the days that KuaiRand's columns may hold
    return settings


@pytest.fixture(scope="session")
def bundle(settings) -> Path:
    return untrained_bundle(settings, settings.home / "bundle")
