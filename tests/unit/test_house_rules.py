"""House rules that a reader relies on: short files, names that say what is inside, and a docstring on every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "services", "monitoring", "feature_repo", "infra")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60  # 40 is long; signatures and docstrings count, so the hard bound is looser
VAGUE = {"base", "core", "data", "lib", "main", "shared", "stuff", "things", "tools"}  # as a whole name
VAGUE_ANYWHERE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}  # and these in a part of one

SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def _names(files: list[Path]) -> list[str]:
    return [file.relative_to(ROOT).as_posix() for file in files]


def long_functions(tree: ast.Module, bound: int) -> list[str]:
    """Names of functions with more than `bound` lines."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if node.end_lineno - node.lineno + 1 > bound]


@pytest.mark.parametrize("file", SOURCES + TESTS, ids=_names(SOURCES + TESTS))
def test_a_file_holds_one_concept(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines want to be two nouns"


@pytest.mark.parametrize("file", SOURCES + TESTS, ids=_names(SOURCES + TESTS))
def test_a_name_says_what_is_inside(file):
    names = {name.removeprefix("test_") for name in file.relative_to(ROOT).with_suffix("").parts}
    assert names & VAGUE == set()
    assert {part for name in names for part in name.split("_")} & VAGUE_ANYWHERE == set()


@pytest.mark.parametrize("file", SOURCES, ids=_names(SOURCES))
def test_a_module_says_what_it_is_for(file):
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", SOURCES, ids=_names(SOURCES))
def test_a_function_does_one_thing(file):
    assert long_functions(ast.parse(file.read_text(encoding="utf-8")), LONGEST_FUNCTION) == []


def test_the_guard_sees_a_long_function():
    tree = ast.parse("def short():\n    pass\nasync def long():\n" + "    pass\n" * 5)
    assert long_functions(tree, 4) == ["long"]
