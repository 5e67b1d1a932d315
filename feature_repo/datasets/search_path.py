"""Where datasets are looked for: the setting, then `./data`, then `../shared/datasets`."""

from __future__ import annotations

from pathlib import Path

from feature_repo.datasets.kuairand.layouts import layout_of
from feature_repo.datasets.own.files import holds_events
from infra.settings import Settings

DEFAULT_FOLDERS = (Path("data"), Path("../shared/datasets"))

# Where KuaiRand may lie inside a searched folder; the official archive unpacks to KuaiRand-Pure/data.
KUAIRAND_PLACES = (".", "kuairand-pure", "KuaiRand-Pure", "KuaiRand-Pure/data", "kuairand-pure/data", "data")

# Where a searched folder may hold your own events: files named for their table, or a mapping.
OWN_PLACES = (".", "own")


def search_path(settings: Settings) -> list[Path]:
    """Every folder that is searched, in order, whether it exists or not."""
    first = [settings.data] if settings.data is not None else []
    return [*first, *DEFAULT_FOLDERS]


def dataset_folders(settings: Settings) -> list[Path]:
    """The folders of the search path that exist, in order."""
    return [folder for folder in search_path(settings) if folder.is_dir()]


def find_kuairand(settings: Settings) -> Path | None:
    """The first folder on the search path that holds KuaiRand-Pure in either layout, or None."""
    for folder in dataset_folders(settings):
        for place in KUAIRAND_PLACES:
            candidate = folder / place
            if layout_of(candidate) is not None:
                return candidate
    return None


def find_own(settings: Settings) -> Path | None:
    """The first place on the search path that holds your own events (a folder, or a file that MIXER_DATA names), or None."""
    if settings.data is not None and settings.data.is_file():
        return settings.data
    for folder in dataset_folders(settings):
        for place in OWN_PLACES:
            if holds_events(folder / place):
                return folder / place
    return None
