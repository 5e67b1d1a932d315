"""The candidate snapshot: every post with its packed states and blocks, as sorted columns that a mixer gathers from.

A snapshot is a folder of .npy files under `paths.snapshots/<version>`; a pointer file names the current one and is
swapped in one rename. Mixers map the files, so a new version costs them no copy.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.ranking_state import MEASURES, STATE_INDEX
from feature_repo.blocks import States, post_block
from feature_repo.content import Content
from feature_repo.event_log import first_topics
from feature_repo.heads import APPROVED, COMPLETED, OPENED, prior_rate
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles
from feature_repo.surfaces import media_code
from infra.settings import Settings
from infra.storage import replace_atomically

POINTER = "current.json"
KEPT_VERSIONS = 3
POPULARITY_STRENGTH = 20.0  # impressions that the prior of a post's popularity is worth
ENTITIES = ("post", "author", "topic")
_COLUMNS = ("post_id", "author_id", "topic", "created_at_us", "media", "popularity", "profile")


class SnapshotMissing(LookupError):
    """There is no snapshot to load."""


@dataclass(frozen=True)
class Snapshot:
    """n posts sorted by id. All arrays are (n,) unless said otherwise; `as_of_us` is the moment of the derived values.

    The last `appended` posts came after the snapshot was published (see `with_posts`): they are sorted by nothing.
    """

    version: str
    as_of_us: int
    post_id: np.ndarray  # int64, ascending
    author_id: np.ndarray  # int64
    topic: np.ndarray  # int32, first topic, -1 = none
    created_at_us: np.ndarray  # int64
    media: np.ndarray  # int16 code
    popularity: np.ndarray  # float32, smoothed engagement over everything known
    profile: np.ndarray  # float32 (n, len(POST_PROFILE))
    states: dict[str, States] = field(repr=False)  # post, author, topic -> n packed states, gathered per post
    blocks: dict[str, np.ndarray] = field(repr=False)  # post, author, topic -> float32 (n, width) at as_of_us
    appended: int = 0
    content: Content | None = None  # vectors of what the posts themselves hold; None where none holds anything

    def __len__(self) -> int:
        return len(self.post_id)

    @property
    def published(self) -> int:
        """How many posts, the first ones, were published with the snapshot."""
        return len(self) - self.appended

    def rows_of(self, post_ids: np.ndarray) -> np.ndarray:
        """Row of each post, int64; -1 where the snapshot does not hold it."""
        wanted = np.asarray(post_ids, np.int64)
        rows = _places(self.post_id[: self.published], wanted)
        if self.appended:
            order = self._appended_order
            late = _places(self.post_id[self.published :][order], wanted)
            rows = np.where(late >= 0, self.published + order[late], rows)
        return rows

    @cached_property
    def _appended_order(self) -> np.ndarray:
        return np.argsort(self.post_id[self.published :], kind="stable")

    def with_posts(self, fresh: Snapshot) -> Snapshot:
        """This snapshot and the posts of `fresh`, which it does not hold, after its own: no row that was there moves."""
        arrays = {name: np.concatenate([getattr(self, name), getattr(fresh, name)]) for name in _COLUMNS}
        return replace(
            self,
            **arrays,
            states={name: self.states[name].with_states(fresh.states[name]) for name in ENTITIES},
            blocks={name: np.concatenate([self.blocks[name], fresh.blocks[name]]) for name in ENTITIES},
            appended=self.appended + len(fresh),
            content=None if self.content is None else self.content.with_posts(fresh.content, len(fresh)),
        )


def _places(ascending: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of `wanted` stands in `ascending`, int64; -1 where it does not."""
    if len(ascending) == 0:
        return np.full(len(wanted), -1, np.int64)
    place = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.where(ascending[place] == wanted, place, -1).astype(np.int64)


def popularity(state: np.ndarray) -> np.ndarray:
    """Smoothed engagement of posts from their packed states: openings and completions expected, and approvals twofold."""
    shown = state[:, MEASURES.index("impression")]
    opened, completed, approved = (_rate(state, shown, group) for group in (OPENED, COMPLETED, APPROVED))
    seen = np.log1p(shown + state[:, STATE_INDEX["prior_impression"]]) / 20.0  # a post that was shown more is known better
    return (opened + completed + 2.0 * approved + 0.1 * seen).astype(np.float32)


def _rate(state: np.ndarray, shown: np.ndarray, group: tuple[str, ...]) -> np.ndarray:
    """Actions of `group` per impression, dated and undated together, shrunk to its prior rate."""
    undated = [f"prior_{head}" for head in group if f"prior_{head}" in STATE_INDEX]
    acted = state[:, [MEASURES.index(head) for head in group]].sum(axis=1)
    if undated:
        acted = acted + state[:, [STATE_INDEX[name] for name in undated]].sum(axis=1)
        shown = shown + state[:, STATE_INDEX["prior_impression"]]
    return (acted + POPULARITY_STRENGTH * prior_rate(group)) / (shown + POPULARITY_STRENGTH)


def assemble_snapshot(
    posts: pl.DataFrame,
    states: dict[str, States],
    as_of_us: int,
    version: str | None = None,
    content: Content | None = None,
) -> Snapshot:
    """A snapshot of `posts` (contract rows sorted by post_id) with the states of each post, its author and its topic.

    Its version is a new one, unless it is given.
    """
    created_at_us = posts["created_at"].dt.epoch("us").to_numpy()
    profile = post_profiles(posts)
    version = version or f"{as_of_us}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    return Snapshot(
        version=version,
        as_of_us=as_of_us,
        post_id=posts["post_id"].to_numpy(),
        author_id=posts["author_id"].to_numpy(),
        topic=first_topics(posts)["topic"].to_numpy(),
        created_at_us=created_at_us,
        media=np.array([media_code(kind) for kind in posts["media"]], np.int16),
        popularity=popularity(states["post"].state),
        profile=profile,
        states=states,
        blocks={
            "post": post_block(states["post"], profile, created_at_us, as_of_us),
            "author": states["author"].derive(as_of_us),
            "topic": states["topic"].derive(as_of_us),
        },
        content=content,
    )


def build_snapshot(settings: Settings, lake: Lake, as_of: datetime) -> Snapshot:
    """A snapshot of all posts of `lake`, its states read from Feast's online store in batches."""
    from feature_repo.event_log import read_table
    from feature_repo.online import read_states

    posts = read_table([lake], "posts", embeddings=True)
    topics = first_topics(posts)["topic"].to_numpy()
    states = {
        "post": read_states(settings, "post", posts["post_id"].to_numpy()),
        "author": read_states(settings, "author", posts["author_id"].to_numpy()),
        "topic": read_states(settings, "topic", topics),
    }
    return assemble_snapshot(posts, states, round(as_of.timestamp() * 1e6), content=Content.of(posts))


# ---- files -----------------------------------------------------------------------------------------------------------
def publish(settings: Settings, snapshot: Snapshot) -> None:
    """Write `snapshot` and make it the current one; the newest KEPT_VERSIONS stay on disk.

    Raises ValueError for one that posts were appended to: what is on disk is sorted, and has every post's own states.
    """
    if snapshot.appended:
        raise ValueError(f"snapshot {snapshot.version} has {snapshot.appended} appended posts: build one from the lake instead")
    root = settings.paths.snapshots
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f".{snapshot.version}.tmp"
    folder.mkdir()
    for name, array in _arrays(snapshot).items():
        np.save(folder / f"{name}.npy", array)
    meta = {"version": snapshot.version, "as_of_us": snapshot.as_of_us}
    if snapshot.content is not None:
        meta["embedding"] = snapshot.content.embedding
    (folder / "meta.json").write_text(json.dumps(meta))
    folder.rename(root / snapshot.version)
    with replace_atomically(root / POINTER) as temporary:
        temporary.write_text(json.dumps({"version": snapshot.version}))
    _drop_old(root, snapshot.version)


def current_version(settings: Settings) -> str | None:
    """Version of the current snapshot, None before the first."""
    pointer = settings.paths.snapshots / POINTER
    try:
        return json.loads(pointer.read_text())["version"]
    except FileNotFoundError:
        return None


def current_moment_us(settings: Settings) -> int | None:
    """The moment that the current snapshot is as of, without opening it; None before the first."""
    version = current_version(settings)
    if version is None:
        return None
    try:
        return json.loads((settings.paths.snapshots / version / "meta.json").read_text())["as_of_us"]
    except FileNotFoundError:  # another was published meanwhile, and this one removed
        return None


def load_snapshot(settings: Settings, version: str | None = None) -> Snapshot:
    """Map a snapshot's files (the current one by default). Raises SnapshotMissing with what to do."""
    chosen = version or current_version(settings)
    if chosen is None:
        raise SnapshotMissing(f"no snapshot under {settings.paths.snapshots}; run the features flow (`mixer run features`)")
    folder = settings.paths.snapshots / chosen
    if not folder.is_dir():
        raise SnapshotMissing(f"snapshot {chosen!r} is not under {settings.paths.snapshots}; only the newest are kept")
    # Plain arrays over the maps: numpy's memmap class costs every gather some Python.
    arrays = {file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in folder.glob("*.npy")}
    meta = json.loads((folder / "meta.json").read_text())
    return Snapshot(
        version=meta["version"],
        as_of_us=meta["as_of_us"],
        **{name: arrays[name] for name in _COLUMNS},
        states={name: States(arrays[f"state_{name}"], arrays[f"updated_at_{name}"]) for name in ENTITIES},
        blocks={name: arrays[f"block_{name}"] for name in ENTITIES},
        content=Content(arrays["content"], meta["embedding"], arrays["word_weights"]) if "content" in arrays else None,
    )


def _arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    arrays = {name: getattr(snapshot, name) for name in _COLUMNS}
    for name in ENTITIES:
        arrays[f"state_{name}"] = snapshot.states[name].state
        arrays[f"updated_at_{name}"] = snapshot.states[name].updated_at
        arrays[f"block_{name}"] = snapshot.blocks[name]
    if snapshot.content is not None:
        arrays |= {"content": snapshot.content.vectors, "word_weights": snapshot.content.word_weights}
    return arrays


def _drop_old(root: Path, current: str) -> None:
    """Remove all but the newest versions. A mixer that still maps a removed file keeps its data until it lets go.

    Another publisher may be removing the same folder, hence no error where one is already gone.
    """
    versions = sorted((folder for folder in root.iterdir() if folder.is_dir()), key=lambda folder: folder.stat().st_mtime)
    for folder in versions[:-KEPT_VERSIONS]:
        if folder.name != current:
            shutil.rmtree(folder, ignore_errors=True)
