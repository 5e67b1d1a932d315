"""House rules that a reader relies on: short files, names that say what is inside, and a docstring on every module."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "services", "monitoring", "feature_repo", "infra")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60  # 40 is long; signatures and docstrings count, so the hard bound is looser
VAGUE = {"base", "core", "data", "lib", "main", "shared", "stuff", "things", "tools"}  # as a whole name
VAGUE_ANYWHERE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}  # and these in a part of one

SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def long_functions(tree: ast.Module, bound: int) -> list[str]:
    """Names of functions with more than `bound` lines."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if node.end_lineno - node.lineno + 1 > bound]


def broken(files: list[Path], fault: Callable[[Path], object]) -> dict[str, object]:
    """What `fault` finds in each file, by name; files in which it finds nothing are left out.

    All files are judged in one test: as one test each, thousands of them took longer to report than to run.
    """
    found = {file.relative_to(ROOT).as_posix(): fault(file) for file in files}
    return {name: fault for name, fault in found.items() if fault}


def too_long(file: Path) -> str:
    lines = len(file.read_text(encoding="utf-8").splitlines())
    return f"{lines} lines want to be two nouns" if lines > LONGEST_FILE else ""


def vague_words(file: Path) -> set[str]:
    names = {name.removeprefix("test_") for name in file.relative_to(ROOT).with_suffix("").parts}
    return names & VAGUE | {part for name in names for part in name.split("_")} & VAGUE_ANYWHERE


def test_a_file_holds_one_concept():
    assert broken(SOURCES + TESTS, too_long) == {}


def test_a_name_says_what_is_inside():
    assert broken(SOURCES + TESTS, vague_words) == {}


def test_a_module_says_what_it_is_for():
    assert broken(SOURCES, lambda file: not ast.get_docstring(tree_of(file))) == {}


def test_a_function_does_one_thing():
    assert broken(SOURCES, lambda file: long_functions(tree_of(file), LONGEST_FUNCTION)) == {}


def test_the_guards_see_what_they_look_for(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "short.py").write_text("pass\n")
    (tmp_path / "load_utils.py").write_text("pass\n" * (LONGEST_FILE + 1))
    files = [tmp_path / "short.py", tmp_path / "load_utils.py"]
    assert list(broken(files, too_long)) == ["load_utils.py"]
    assert broken(files, vague_words) == {"load_utils.py": {"utils"}}


def test_the_guard_sees_a_long_function():
    tree = ast.parse("def short():\n    pass\nasync def long():\n" + "    pass\n" * 5)
    assert long_functions(tree, 4) == ["long"]
