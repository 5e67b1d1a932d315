"""A process that opens the store imports Feast without typeguard's compilation, and leaves typeguard as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ASKED = """
import inspect, typeguard
checking = typeguard.typechecked
from feature_repo.feature_store import apply, open_store
from infra.settings import Settings
from pathlib import Path
if {quickly}:
    apply(Settings(home=Path({home!r})))
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, OnDemandFeatureView
compiled = [
    function.__qualname__
    for kind in (Entity, FeatureStore, FeatureView, Field, FileSource, OnDemandFeatureView)
    for _, function in inspect.getmembers(kind, inspect.isfunction)
    if "typeguard" in function.__code__.co_names
]
print(compiled, typeguard.typechecked is checking)
"""


def test_a_process_that_applies_the_definitions_compiles_none_of_feasts_methods_anew(tmp_path):
    assert told(tmp_path / "home", quickly=True) == "[] True"
    assert "FeatureView.__init__" in told(tmp_path / "home", quickly=False)  # as Feast comes by itself


def told(home: Path, *, quickly: bool) -> str:
    asked = ASKED.format(home=str(home), quickly=quickly)
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
