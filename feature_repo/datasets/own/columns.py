"""Which column of a file stands for which column of a contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.own.files import TableFiles

# Names of the contract's columns under which a file's own column is taken without a mapping.
ALSO = {"surface": ("surface", "product")}


@dataclass(frozen=True)
class Columns:
    """Contract column -> column of the files; a contract column that no file has is absent."""

    of: dict[str, str]

    def __contains__(self, ours: str) -> bool:
        return ours in self.of

    def __getitem__(self, ours: str) -> str:
        return self.of[ours]


def resolved(table: TableFiles, found: Sequence[str], names: Sequence[str], mapped: dict[str, str | None]) -> Columns:
    """The columns as mapped, else those of the same name. Raises MalformedFile where a mapped column is not there."""
    of: dict[str, str] = {}
    for ours in names:
        if ours in mapped:
            if (theirs := mapped[ours]) is not None:
                of[ours] = existing(table, found, theirs)
        elif same := next((one for one in ALSO.get(ours, (ours,)) if one in found), None):
            of[ours] = same
    return Columns(of)


def existing(table: TableFiles, found: Sequence[str], theirs: str) -> str:
    """`theirs`, where the files have it; else MalformedFile with the nearest name."""
    if theirs in found:
        return theirs
    near = get_close_matches(theirs, found, 1)
    told = f"; is it {near[0]!r}?" if near else f"; found {', '.join(found)}"
    raise MalformedFile(table.files[0], f"the mapping names this column and it is not there{told}", column=theirs)
