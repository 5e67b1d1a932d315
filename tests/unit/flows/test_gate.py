"""The gate fails closed, with a sentence, where the rows kept out judge no challenger."""

from __future__ import annotations

import numpy as np
import pytest

from flows.retrain import GateFailed, gate
from tests.synthetic_rows import synthetic_rows


@pytest.mark.parametrize("rows", [0, 20])
def test_a_challenger_that_nothing_judges_is_not_registered(rows):
    kept_out = synthetic_rows(40, seed=1).take(np.arange(rows))
    with pytest.raises(GateFailed, match=rf"nothing to judge the challenger on: {rows} rows .* not registered"):
        gate.fn("challenger", "champion", kept_out)
