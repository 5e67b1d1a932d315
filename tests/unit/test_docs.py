"""README, command line, settings, endpoints and deployments hold each other to what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from flows.cli.app import app
from flows.deployments import DEPLOYMENTS
from infra.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {page: page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXT = "\n".join(PAGES.values())


def _commands(command, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Every command by its words, with its help text."""
    found = {path: command.help or ""}
    for name, child in getattr(command, "commands", {}).items():
        found |= _commands(child, (*path, name))
    return found


COMMANDS = _commands(get_command(app))


@pytest.mark.parametrize("words", sorted(COMMANDS), ids=" ".join)
def test_every_command_says_what_it_does(words):
    assert COMMANDS[words].strip(), f"mixer {' '.join(words)} has no help text"


def test_every_command_that_the_documentation_names_exists():
    named = {tuple(words.split()) for words in re.findall(r"`(?:[\w./]*/)?mixer ((?:[a-z]+ ?)+)", TEXT)}
    for words in named:
        fits = [known for known in COMMANDS if known and words[: len(known)] == known]
        assert fits, f"the documentation names `mixer {' '.join(words)}`, which is no command"


def test_every_setting_says_what_it_does():
    for name, field in Settings.model_fields.items():
        assert field.description, f"setting {name} has no description"


def test_every_setting_that_the_documentation_names_exists():
    for name in set(re.findall(r"MIXER_([A-Z_]+)", TEXT)):
        assert name.lower() in Settings.model_fields, f"the documentation names MIXER_{name}, which is no setting"


def test_every_make_target_that_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (demo|test|up|down|lint|clean|install)\b", README)) <= targets


def test_every_path_that_a_page_links_to_exists():
    for page, text in PAGES.items():
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_readme_keeps_to_the_first_day():
    assert len(README.splitlines()) <= 150, "README is for the first day; what is longer has a page of its own in docs/"


def test_readme_names_every_endpoint_of_the_mixer():
    from services.mixer.app import create_app

    for path in ("/for_you", "/following", "/score", "/explain", "/events"):
        assert path in create_app().openapi()["paths"]
        assert f"`{path}`" in README


def test_every_deployment_says_what_it_does():
    for deployed in DEPLOYMENTS:
        assert deployed.description.endswith("."), deployed.name
