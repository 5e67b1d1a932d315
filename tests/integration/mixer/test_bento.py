"""A bento is built and served for real, by the commands that a release uses."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from infra.processes import mixer
from infra.supervisor import Supervisor
from services.mixer.bento import BentoError, bento_folder, bento_tag, build_bento, serve_command
from services.mixer.release import ReleaseError, bundle_folder, served_manifest
from services.ranking.weights import WeightError
from tests.free_ports import free_port

MANIFEST = {"bundle": "untrained", "model_version": "1", "weight_preset": "clicks_only", "created_at": "2025-03-04T00:00:00Z"}

# What a serving process must not pay for, and must not be able to fail by.
FOREIGN = ("evidently", "great_expectations", "mlflow", "prefect", "flows", "monitoring")
HEAVY = ("torch", "feast", "pandas")


@pytest.fixture(scope="module")
def bento(small_settings):
    """The bento of release `r-bento`, built over what an interrupted release of that id has left."""
    left = bento_folder(small_settings, "r-bento") / "src" / "release"
    left.mkdir(parents=True)
    (left / "manifest.json").write_text(json.dumps({**MANIFEST, "release_id": "r-bento", "model_version": "0"}))
    return build_bento(small_settings, "r-bento", MANIFEST)


@pytest.mark.slow
def test_a_bento_carries_the_sources_the_manifest_and_the_bundle(bento, small_settings):
    source = bento_folder(small_settings, "r-bento") / "src"
    manifest = json.loads((source / "release" / "manifest.json").read_text())
    assert (bento, manifest["release_id"], manifest["bento_tag"]) == ("home_mixer:r-bento", "r-bento", bento)
    assert manifest["model_version"] == "1"
    assert (source / "services" / "mixer" / "service.py").exists()
    assert (source / "feature_repo" / "snapshot.py").exists()
    assert (source / "infra" / "settings.py").exists()
    assert (source / "release" / "bundle" / "bundle.json").read_bytes() == (
        small_settings.paths.bundles / "untrained" / "bundle.json"
    ).read_bytes()


@pytest.mark.slow
def test_building_the_same_release_again_changes_nothing(bento, small_settings):
    file = bento_folder(small_settings, "r-bento") / "src" / "release" / "manifest.json"
    written = file.stat().st_mtime_ns
    assert build_bento(small_settings, "r-bento", {**MANIFEST, "created_at": "later"}) == bento
    assert file.stat().st_mtime_ns == written


@pytest.mark.slow
def test_the_bento_serves_from_its_own_copy(bento, small_settings, as_of, tmp_path):
    port = free_port()
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**MANIFEST, "release_id": "r-bento", "bento_tag": bento}))
    supervisor = Supervisor(small_settings)
    spec = mixer(small_settings, "r-bento", tuple(serve_command(small_settings, bento, port)), port, manifest)
    supervisor.start(spec)
    try:
        supervisor.wait_ready(spec)
        with httpx.Client(base_url=f"http://{small_settings.host}:{port}", timeout=30) as client:
            answer = client.post("/for_you", json={"user_id": 1, "count": 5, "requested_at": as_of})
            assert (answer.status_code, answer.headers["x-mixer-release"]) == (200, "r-bento")
            assert len(answer.json()["posts"]) == 5
            assert answer.json()["degraded"] == []
            assert client.get("/readyz").status_code == 200
            assert client.post("/for_me", json={}).json()["error"]["code"] == "unknown_path"
            release = client.get("/release").json()
            assert release["loaded"]["source"] == str(bento_folder(small_settings, "r-bento").resolve() / "src")
            assert "mixer_request_seconds" in client.get("/metrics").text
    finally:
        supervisor.stop(spec.name)


@pytest.mark.slow
def test_building_loads_no_model_library_and_serving_nothing_of_training_validation_or_reporting():
    script = (
        "import sys, services.mixer.service\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "import services.mixer.runtime, services.mixer.warm_up, feast\n"
        f"print([name for name in {FOREIGN} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-2:] == ["[]", "[]"]


@pytest.mark.parametrize("release_id", ["", "R1", "r 1", "../r1", "r1-", "r" * 64])
def test_an_id_that_makes_no_tag_is_refused(release_id):
    with pytest.raises(BentoError, match="makes no bento tag"):
        bento_tag(release_id)


def test_an_unknown_weight_preset_is_refused_before_anything_is_built(small_settings):
    with pytest.raises(WeightError, match="'loudest'"):
        build_bento(small_settings, "r9", {"bundle": "untrained", "weight_preset": "loudest"})


def test_a_bundle_that_is_not_there_is_named(small_settings):
    with pytest.raises(BentoError, match="the bundle of release 'r9' is not at .*nowhere"):
        build_bento(small_settings, "r9", {"bundle": "nowhere"})


def test_a_process_without_a_manifest_says_what_to_do(small_settings, tmp_path):
    with pytest.raises(ReleaseError, match="MIXER_RELEASE_MANIFEST"):
        served_manifest(small_settings, carried=tmp_path)


def test_a_manifest_of_another_release_than_the_bentos_is_refused(small_settings, tmp_path):
    (tmp_path / "manifest.json").write_text('{"release_id": "r1"}')
    other = tmp_path / "other.json"
    other.write_text('{"release_id": "r2"}')
    settings = small_settings.model_copy(update={"release_manifest": other})
    with pytest.raises(ReleaseError, match="describes release 'r2', but this bento is release 'r1'"):
        served_manifest(settings, carried=tmp_path)


def test_the_bentos_own_bundle_comes_first(small_settings, tmp_path):
    assert bundle_folder(small_settings, {"bundle": "untrained"}, tmp_path) == small_settings.paths.bundles / "untrained"
    (tmp_path / "bundle").mkdir()
    assert bundle_folder(small_settings, {"bundle": "untrained"}, tmp_path) == tmp_path / "bundle"
