"""The house's floors: imports run downward only, one module reads the environment, and serving stays light.

Read from the syntax trees, so that an import inside a function counts as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("flows", "services", "monitoring", "feature_repo", "infra")  # from the top down
ENVIRONMENT_READER = "infra.settings"
SERVING_ENTRY = "services.mixer.service"
NOT_IN_SERVING = {"evidently", "great_expectations", "mlflow"}


def module_files() -> dict[str, Path]:
    """Every module of the house by its dotted name."""
    files = sorted(file for floor in FLOORS for file in (ROOT / floor).rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


MODULES = module_files()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported_names(tree: ast.Module, module: str, is_package: bool = False) -> set[str]:
    """Dotted names that `tree` imports anywhere, relative ones resolved; `from a import b` counts as a and a.b."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


@cache
def imports_of(module: str) -> set[str]:
    return imported_names(tree_of(module), module, MODULES[module].name == "__init__.py")


def reads_environment(tree: ast.Module) -> list[int]:
    """Lines that name os.environ, os.environb or os.getenv, under any alias of `os`."""
    aliases = {"os"}
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name for alias in node.names if alias.name == "os"}
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            lines += [node.lineno for alias in node.names if alias.name in ("environ", "environb", "getenv")]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb", "getenv")
            and isinstance(node.value, ast.Name)
        ):
            lines += [node.lineno] if node.value.id in aliases else []
    return lines


def reachable(entry: str) -> set[str]:
    """Modules of the house that importing `entry` may pull in, `entry` and parent packages included."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module in found or module not in MODULES:
            continue
        found.add(module)
        names = imports_of(module) | ({module.rpartition(".")[0]} if "." in module else set())
        waiting += [name for name in names if name.split(".")[0] in FLOORS]
    return found


def imports_from_above(module: str) -> set[str]:
    here = FLOORS.index(module.split(".")[0])
    return {name for name in imports_of(module) if name.split(".")[0] in FLOORS[:here]}


def test_a_module_imports_only_from_its_own_floor_and_those_below():
    assert {module: above for module in sorted(MODULES) if (above := imports_from_above(module))} == {}


def test_no_module_imports_the_tests():
    assert [module for module in MODULES if any(name.split(".")[0] == "tests" for name in imports_of(module))] == []


def test_only_the_settings_read_the_environment():
    readers = {
        module: lines for module in MODULES if module != ENVIRONMENT_READER and (lines := reads_environment(tree_of(module)))
    }
    assert readers == {}


def test_what_the_mixer_serves_with_names_no_heavy_library():
    assert SERVING_ENTRY in MODULES
    heavy = {
        module: libraries
        for module in sorted(reachable(SERVING_ENTRY))
        if (libraries := {name.split(".")[0] for name in imports_of(module)} & NOT_IN_SERVING)
    }
    assert heavy == {}


@pytest.mark.slow
def test_a_process_that_imports_the_mixer_has_loaded_no_heavy_library():
    program = f"import sys, {SERVING_ENTRY}; print(sorted({NOT_IN_SERVING!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_registering_the_flows_loads_no_heavy_library():
    """The tour's own process registers them all, waits for most of an hour, and is the first to be waited for."""
    heavy = NOT_IN_SERVING | {"torch", "lightgbm", "bentoml", "feast", "ibis"}
    program = (
        "import sys, importlib; from flows.deployments import DEPLOYMENTS;"
        "[importlib.import_module(one.entrypoint.split(':')[0]) for one in DEPLOYMENTS];"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "[]"


def test_the_guards_see_what_they_look_for():
    lazy = ast.parse("def f():\n    from services.gateway import app\n    from . import split\n    import mlflow.tracking\n")
    assert imported_names(lazy, "monitoring.canary.judge") >= {
        "services.gateway.app",
        "monitoring.canary.split",
        "mlflow.tracking",
    }
    assert imported_names(ast.parse("from . import a"), "services.mixer", is_package=True) >= {"services.mixer.a"}
    source = "import os as system\nfrom os import getenv\nhome = system.environ['HOME']\n"
    assert reads_environment(ast.parse(source)) == [2, 3]
