"""Trainings here are short."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.short_training import shorten_training


@pytest.fixture(scope="package", autouse=True)
def short_training() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_training(patch)
        yield
