"""A task is not tried again where it refused its input."""

from __future__ import annotations

import pytest

from feature_repo.datasets.ingest import IngestError
from flows.steps.retries import unless


class _State:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self, raise_on_failure: bool) -> Exception:
        assert not raise_on_failure
        return self._error


@pytest.mark.parametrize(("error", "again"), [(IngestError("holds another"), False), (OSError("the disk is busy"), True)])
def test_a_refusal_is_final_and_a_flaky_edge_is_not(error: Exception, again: bool) -> None:
    assert unless(IngestError)(None, None, _State(error)) is again
