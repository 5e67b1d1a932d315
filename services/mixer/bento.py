"""Building a release's bento, and the command that serves it.

A bento carries the source packages that serving imports, the manifest and the model bundle; it runs in the interpreter
that built it. Nothing is downloaded: its requirements are written down from what is installed, not resolved again.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import yaml

from infra.processes import ONE_ARRAY_THREAD
from infra.settings import Settings
from services.mixer.release import BENTO_RELEASE, BUNDLE_NAME, MANIFEST_NAME
from services.ranking.weights import DEFAULT_PRESET, preset_named

logger = logging.getLogger(__name__)

NAME = "home_mixer"
SERVICE = "services.mixer.service:HomeMixer"
SOURCE = Path(__file__).resolve().parents[2]
PACKAGES = ("feature_repo", "infra", "services")

# What a container that serves the bento installs; the versions are those of this interpreter.
REQUIREMENTS = (
    "bentoml",
    "confluent-kafka",
    "duckdb",
    "faiss-cpu",
    "fastapi",
    "feast",
    "ibis-framework",
    "lightgbm",
    "msgspec",
    "numpy",
    "orjson",
    "pandas",
    "polars",
    "prometheus-client",
    "pyarrow",
    "pydantic-settings",
    "safetensors",
    "scipy",
    "sqlalchemy",
    "torch",
)

# Manifest fields that may differ when the same release is built again after an interruption.
_INCIDENTAL = ("created_at", "bento_tag")


class BentoError(RuntimeError):
    """A bento could not be built."""


def bento_tag(release_id: str) -> str:
    """The tag of a release's bento; raises BentoError for an id that makes no tag."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", release_id):
        raise BentoError(f"release id {release_id!r} makes no bento tag: use 1-63 of a-z, 0-9, '.', '_' and '-'")
    return f"{NAME}:{release_id}"


def bento_folder(settings: Settings, release_id: str) -> Path:
    """Where the built bento of a release lies."""
    return settings.paths.bentoml / "bentos" / NAME / bento_tag(release_id).partition(":")[2]


def build_bento(settings: Settings, release_id: str, manifest: dict) -> str:
    """Build the bento of `release_id` with the bundle that `manifest["bundle"]` names; returns its tag.

    Building the same release again returns the bento that is there. One with another content can only stem from a release
    that was cut off before the ledger knew it (the ledger never gives an id twice), so it is replaced. Raises BentoError,
    and WeightError for an unknown weight preset.
    """
    tag = bento_tag(release_id)
    preset_named(manifest.get("weight_preset") or DEFAULT_PRESET)  # an unknown one is refused now, not when serving starts
    manifest = {**manifest, "release_id": release_id, "bento_tag": tag}
    built = bento_folder(settings, release_id)
    if built.exists():
        if _is_same(built, manifest):
            return tag
        logger.warning("bento %s was left by an interrupted release with another content; building it anew", tag)
        shutil.rmtree(built)
    bundle = settings.paths.bundles / manifest["bundle"]
    if not bundle.is_dir():
        raise BentoError(f"the bundle of release {release_id!r} is not at {bundle}: train a model first")
    with tempfile.TemporaryDirectory(prefix="mixer-bento-") as folder:
        context = Path(folder)
        _stage(context, manifest, bundle)
        _run_build(settings, context, release_id)
    return tag


def serve_command(settings: Settings, tag: str, port: int) -> list[str]:
    """The command of a mixer process that serves bento `tag` on `port`; give it `settings.child_environment()`."""
    return [sys.executable, "-m", "bentoml", "serve", tag, "--host", settings.host, "--port", str(port)]


def _stage(context: Path, manifest: dict, bundle: Path) -> None:
    """Lay out what the bento carries."""
    for package in PACKAGES:
        shutil.copytree(SOURCE / package, context / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    release = context / BENTO_RELEASE.name
    shutil.copytree(bundle, release / BUNDLE_NAME, ignore=shutil.ignore_patterns("checkpoints"))
    (release / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2, sort_keys=True, default=str))
    options = {
        "service": SERVICE,
        "name": NAME,
        "include": [*(f"{package}/**" for package in PACKAGES), f"{BENTO_RELEASE.name}/**"],
        "description": f"Home Mixer release {manifest['release_id']}",
        "labels": {"release": manifest["release_id"]},
        "envs": [{"name": name, "value": value} for name, value in ONE_ARRAY_THREAD.items()],  # of its container
        "python": {"lock_packages": False, "packages": [f"{name}=={version(name)}" for name in REQUIREMENTS]},
    }
    (context / "bentofile.yaml").write_text(yaml.safe_dump(options))


def _run_build(settings: Settings, context: Path, release_id: str) -> None:
    """Build in a process of its own: it imports the staged sources, so a bento that lacks a module fails here."""
    command = [sys.executable, "-m", "bentoml", "build", str(context), "--version", release_id, "--output", "tag"]
    environment = settings.process_environment({})
    done = subprocess.run(command, cwd=context, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BentoError(f"bentoml could not build release {release_id!r} (exit {done.returncode}):\n{done.stderr[-4000:]}")


def _is_same(built: Path, manifest: dict) -> bool:
    """Whether the built bento carries this very manifest, but for fields that change with the moment of building."""
    file = built / "src" / BENTO_RELEASE.name / MANIFEST_NAME
    wanted = json.loads(json.dumps(manifest, default=str))
    carried = json.loads(file.read_text()) if file.exists() else {}
    return _lasting(carried) == _lasting(wanted)


def _lasting(manifest: dict) -> dict:
    return {name: value for name, value in manifest.items() if name not in _INCIDENTAL}
