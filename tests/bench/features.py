"""How long it takes to hydrate one request's candidates with every family the ranker reads; the peer is Feast itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from shutil import rmtree

import numpy as np

from feature_repo.blocks import BLOCK_NAMES, States, post_block
from feature_repo.feature_rows import FeatureRows
from feature_repo.request_rows import candidate_rows
from feature_repo.snapshot import Snapshot, build_snapshot, load_snapshot, publish
from flows.steps.progress import announce
from infra.settings import Settings
from tests.bench.percentiles import durations_ms, percentiles, settled_memory

USERS, DAYS = 200, 5  # of the simulated world that the features are of
WARM_UPS = 20
SURFACE = "for_you"
PEER_FEATURES = [
    *(f"{view}:{feature}" for view in ("post", "author", "topic") for feature in ("state", "updated_at")),
    "post:profile",
    "post:created_at",
]


class ValuesDiffer(AssertionError):
    """The two ways do not give the same values, so that their times cannot be compared."""


def bench_features(
    folder: Path, candidates: int = 1_500, requests: int = 500, peer_requests: int = 20, posts: int = 20_000
) -> dict:
    """Time `requests` requests of `candidates` random posts each out of `posts`, and the first `peer_requests` through Feast.

    Features of a simulated world are built, materialised into a SQLite online store and published as a snapshot under
    `folder`, which is removed in the end. Each request has a user with their history and a moment of its own, so every value
    fades to that moment. Feast reads the stored states of the same posts, authors and topics; what the ranker makes of them
    is compared, and is not part of Feast's time.

    Keys: p50_ms, p99_ms, peer (what, p50_ms, p99_ms, requests), ratio (of the medians), candidates, columns, requests, posts,
    values_compared, simulated. Raises ValuesDiffer where the two ways differ.
    """
    settings = Settings(home=folder / "home", online_store="sqlite")
    try:
        _make_features(settings, posts)
        snapshot = load_snapshot(settings)
        asked = _requests(settings, snapshot, candidates, requests)
        with settled_memory():
            for request in asked[:WARM_UPS]:
                request()
            ours = percentiles(durations_ms(asked))
            announce(f"snapshot: {ours}")
        answers = [request() for request in asked[:peer_requests]]
        peer, compared = _peer(settings, answers, [request.keywords["now_us"] for request in asked])
        announce(f"feast: {peer}")
    finally:
        rmtree(settings.paths.home, ignore_errors=True)
    return {
        **ours,
        "peer": peer,
        "ratio": round(peer["p50_ms"] / ours["p50_ms"], 1),
        "candidates": candidates,
        "columns": sum(len(names) for names in BLOCK_NAMES.values()),
        "requests": requests,
        "posts": len(snapshot),
        "values_compared": compared,
        "simulated": True,
    }


def _make_features(settings: Settings, posts: int) -> None:
    from feature_repo.datasets.ingest import ingest
    from feature_repo.datasets.world.adapter import WorldAdapter
    from feature_repo.datasets.world.config import WorldConfig
    from feature_repo.feature_store import apply, build_offline, materialise
    from feature_repo.lake import Lake

    adapter = WorldAdapter(config=WorldConfig(users=USERS, posts=posts, days=DAYS))
    lake = Lake(settings.paths.lake)
    ingest(adapter, lake, Lake(settings.paths.holdout))
    as_of = adapter.splits.train_end
    apply(settings)
    build_offline(settings, [lake], as_of)
    announce(f"online: {materialise(settings, as_of)}")
    publish(settings, build_snapshot(settings, lake, as_of))


def _requests(settings: Settings, snapshot: Snapshot, candidates: int, requests: int) -> list[partial[FeatureRows]]:
    """Calls of candidate_rows, each with its own user, posts and moment within an hour of the snapshot's."""
    from feature_repo.lake import Lake
    from feature_repo.online import OnlineFeatures

    random, online = np.random.default_rng(1), OnlineFeatures(settings)
    users = Lake(settings.paths.lake).read("users")["user_id"].to_list()
    calls = []
    for number in range(requests):
        now_us = snapshot.as_of_us + int(random.integers(1, 3_600_000_000))
        user = online.user(users[number % len(users)], now_us)
        rows = random.choice(len(snapshot), candidates, replace=False)
        calls.append(partial(candidate_rows, user, snapshot, rows, SURFACE, now_us=now_us))
    return calls


def _peer(settings: Settings, answers: list[FeatureRows], moments: list[int]) -> tuple[dict, int]:
    """Feast's figures for the requests that got `answers`, and how many values were found equal."""
    from feature_repo.feature_store import open_store

    store = open_store(settings)
    read = partial(store.get_online_features, PEER_FEATURES, full_feature_names=True)
    asked = [{name: getattr(rows, name).tolist() for name in ("post_id", "author_id", "topic")} for rows in answers]
    found: list[dict] = []
    read(entity_rows=asked[0]).to_dict()
    with settled_memory():
        durations = durations_ms([lambda one=one: found.append(read(entity_rows=one).to_dict()) for one in asked])
    compared = sum(_compare(rows, answer, now) for rows, answer, now in zip(answers, found, moments, strict=False))
    what = "Feast get_online_features of the same posts, authors and topics (SQLite), stored states only"
    return {"what": what, **percentiles(durations), "requests": len(asked)}, compared


def _compare(rows: FeatureRows, answer: dict, now_us: int) -> int:
    """Values of the blocks post, author and topic that equal those derived from Feast's answer; all must."""
    profile = np.array(answer["post__profile"], np.float32)
    created_at_us = np.array(answer["post__created_at"], np.int64)
    expected = {name: _states(answer, name) for name in ("post", "author", "topic")}
    derived = {name: states.derive(now_us) for name, states in expected.items() if name != "post"}
    derived["post"] = post_block(expected["post"], profile, created_at_us, now_us)
    for name, block in derived.items():
        if not np.array_equal(block, rows.blocks[name]):
            worst = float(np.abs(block - rows.blocks[name]).max())
            raise ValuesDiffer(f"block {name!r} from the snapshot is not the one from Feast's rows; largest difference {worst}")
    return sum(block.size for block in derived.values())


def _states(answer: dict, view: str) -> States:
    """The packed states in Feast's answer; a key that it does not know has the empty state."""
    states = States.empty(len(answer[f"{view}__state"]))
    for row, (state, updated_at) in enumerate(zip(answer[f"{view}__state"], answer[f"{view}__updated_at"], strict=True)):
        if state is not None:
            states.state[row], states.updated_at[row] = state, updated_at
    return states
