"""Datasets are found by the setting first, then in ./data, then in ../shared/datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.datasets.adapter import DatasetNotFound, open_adapter
from feature_repo.datasets.search_path import dataset_folders, find_kuairand
from infra.settings import Settings
from tests.unit.datasets.kuairand_folder import write_official, write_slice


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the working directory, with nothing on its search path yet."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_setting_comes_before_the_default_folders(checkout: Path, tmp_path: Path) -> None:
    write_slice(checkout / "data" / "kuairand-pure")
    chosen = write_slice(tmp_path / "elsewhere" / "kuairand-pure")
    assert find_kuairand(Settings(data=tmp_path / "elsewhere")).resolve() == chosen.resolve()


def test_the_projects_data_folder_comes_before_the_shared_one(checkout: Path) -> None:
    write_slice(checkout.parent / "shared" / "datasets" / "kuairand-pure")
    assert find_kuairand(Settings(data=None)).resolve() == (checkout.parent / "shared/datasets/kuairand-pure").resolve()
    write_slice(checkout / "data" / "kuairand-pure")
    assert find_kuairand(Settings(data=None)).resolve() == (checkout / "data/kuairand-pure").resolve()


@pytest.mark.parametrize("place", [".", "kuairand-pure", "KuaiRand-Pure", "KuaiRand-Pure/data"])
def test_kuairand_is_found_in_each_of_its_places(checkout: Path, tmp_path: Path, place: str) -> None:
    folder = write_official(tmp_path / "found" / place)
    assert find_kuairand(Settings(data=tmp_path / "found")).resolve() == folder.resolve()


def test_folders_that_do_not_exist_are_passed_over(checkout: Path, tmp_path: Path) -> None:
    (checkout / "data").mkdir()
    assert dataset_folders(Settings(data=tmp_path / "nowhere")) == [Path("data")]


def test_without_a_dataset_the_simulated_world_is_opened_and_labelled(checkout: Path) -> None:
    adapter = open_adapter(Settings(data=None, dataset="auto"))
    assert adapter.simulated
    assert adapter.label == "world (simulated)"


def test_auto_takes_kuairand_where_it_is_found(checkout: Path) -> None:
    write_slice(checkout / "data" / "kuairand-pure")
    assert open_adapter(Settings(data=None, dataset="auto")).name == "kuairand"
    assert open_adapter(Settings(data=None, dataset="world")).name == "world"


def test_asking_for_kuairand_in_vain_says_where_it_was_looked_for_and_what_to_do(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound) as caught:
        open_adapter(Settings(data=tmp_path / "nowhere", dataset="kuairand"))
    for part in (str(tmp_path / "nowhere"), "../shared/datasets", "mixer data fetch kuairand", "MIXER_DATA"):
        assert part in str(caught.value)
