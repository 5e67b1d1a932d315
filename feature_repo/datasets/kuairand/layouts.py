"""The two forms in which KuaiRand-Pure is found on disk, and the files of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from feature_repo.datasets.adapter import MalformedFile


class Layout(StrEnum):
    """SLICE: Parquet files of eleven days with per-user histories; OFFICIAL: the CSV files of the published archive."""

    SLICE = "slice"
    OFFICIAL = "official"


@dataclass(frozen=True)
class KuaiRandFiles:
    """Files of one folder; `standard` logs hold the recommender's exposures, `random` logs the randomised ones."""

    layout: Layout
    standard: tuple[Path, ...]
    random: tuple[Path, ...]
    history: Path | None
    users: Path
    videos: Path

    def all(self) -> tuple[Path, ...]:
        """Every file, in a fixed order."""
        history = () if self.history is None else (self.history,)
        return (*self.standard, *self.random, *history, self.users, self.videos)


def layout_of(folder: Path) -> Layout | None:
    """The layout that `folder` holds, told by its exposure logs; None where there are none."""
    if (folder / "exposures.parquet").is_file():
        return Layout.SLICE
    if any(folder.glob("log_standard_*_pure.csv")):
        return Layout.OFFICIAL
    return None


def files_of(folder: Path) -> KuaiRandFiles:
    """The files of `folder`; raises MalformedFile naming a file that its layout asks for and that is not there."""
    layout = layout_of(folder)
    if layout is Layout.SLICE:
        history = folder / "history_before_0425.parquet"
        files = KuaiRandFiles(
            layout,
            standard=(folder / "exposures.parquet",),
            random=(),
            history=history if history.is_file() else None,
            users=folder / "users.parquet",
            videos=folder / "videos.parquet",
        )
    else:
        files = KuaiRandFiles(
            Layout.OFFICIAL,
            standard=tuple(sorted(folder.glob("log_standard_*_pure.csv"))),
            random=tuple(sorted(folder.glob("log_random_*_pure.csv"))),
            history=None,
            users=folder / "user_features_pure.csv",
            videos=folder / "video_features_basic_pure.csv",
        )
    if not files.standard:
        raise MalformedFile(folder / "log_standard_*_pure.csv", "no exposure log is there, in either layout of KuaiRand-Pure")
    for file in files.all():
        if not file.is_file():
            raise MalformedFile(file, f"the file is missing; the {files.layout} layout of KuaiRand-Pure asks for it")
    return files
