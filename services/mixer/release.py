"""Which release this process serves: its manifest and the folder of its model bundle."""

from __future__ import annotations

import json
from pathlib import Path

from infra.settings import Settings

# Where a bento keeps them, beside the source packages; absent when serving from a checkout.
BENTO_RELEASE = Path(__file__).resolve().parents[2] / "release"
MANIFEST_NAME = "manifest.json"
BUNDLE_NAME = "bundle"


class ReleaseError(RuntimeError):
    """No manifest says what to serve, or it does not fit the bento or the bundles that are there."""


def served_manifest(settings: Settings, carried: Path = BENTO_RELEASE) -> dict:
    """The manifest of `settings.release_manifest` where set, else the one inside this process's bento.

    Raises ReleaseError where there is none, and where the setting names another release than the bento carries.
    """
    inside = carried / MANIFEST_NAME
    if settings.release_manifest is None:
        return _read(inside)
    manifest = _read(settings.release_manifest)
    if inside.exists() and (own := _read(inside).get("release_id")) != manifest.get("release_id"):
        raise ReleaseError(
            f"{settings.release_manifest} describes release {manifest.get('release_id')!r}, but this bento is release {own!r}: "
            "serve the bento that the manifest names"
        )
    return manifest


def bundle_folder(settings: Settings, manifest: dict, carried: Path = BENTO_RELEASE) -> Path:
    """Folder of the model bundle: the bento's own copy, else the manifest's path (a name lies under the bundles folder)."""
    inside = carried / BUNDLE_NAME
    if inside.is_dir():
        return inside
    folder = settings.paths.bundles / manifest["bundle"]  # an absolute path stays itself
    if not folder.is_dir():
        raise ReleaseError(
            f"the bundle of release {manifest.get('release_id')!r} is not at {folder}: train, or build the release"
        )
    return folder


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise ReleaseError(
            f"no release manifest at {file}: serve a built bento, or set MIXER_RELEASE_MANIFEST to a manifest file"
        ) from None
    except json.JSONDecodeError as error:
        raise ReleaseError(f"{file} is not JSON ({error}): build the release again") from error
