"""What a mixer process holds: the release's models, the current corpus and graph, the stores it reads, and the engine."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import timedelta

from feature_repo.contracts import EdgeKind
from feature_repo.declared_relations import current_edges
from feature_repo.event_times import EARLIEST
from feature_repo.fresh_posts import FreshPosts
from feature_repo.ids import RememberedIds
from feature_repo.lake import Lake
from feature_repo.online import OnlineFeatures
from feature_repo.recomputation.served_vectors import ServedVectorLog
from feature_repo.snapshot import current_version, load_snapshot
from infra.settings import Settings
from services.intake.events import Platform
from services.intake.producer import EventProducer
from services.mixer.calls import Caller
from services.mixer.corpus import Corpus
from services.mixer.engine import Engine
from services.mixer.metrics import MixerMetrics
from services.mixer.pipeline import Pipeline
from services.mixer.products import following, for_you, given_posts
from services.mixer.products.parts import Parts
from services.mixer.ranking_contexts import RankingContexts
from services.mixer.recently_served import RecentlyServed
from services.mixer.release import bundle_folder
from services.mixer.shown_heads import ShownHeads
from services.mixer.side_effects.served_log import ServedLog
from services.mixer.side_effects.served_vectors import ServedVectorSampler
from services.mixer.social_graph import RecentRelations, SocialGraph
from services.ranking.bundle import ModelBundle
from services.ranking.weights import DEFAULT_PRESET, preset_named

logger = logging.getLogger(__name__)

COMPONENT_THREADS = 8  # components are short, and most wait for one another; overrun calls hold a thread until they end
# Requests are ranked side by side. Measured on two busy cores, a second thread for one request costs more than it gives: at
# concurrency 8 one thread served 93 /score requests a second, two served 61.
RANKER_THREADS = 1
REFRESH_S = 1.0  # how often the process looks for a newer snapshot and for new posts
BEFORE_FIRST_POST = timedelta(days=1)  # an event this much older than the oldest post is no event of this home
GRAPH_REFRESH_S = 60.0  # least time between two readings of the edges table


class MixerRuntime:
    """Everything a request needs, in this process. Build it, `start` it, `close` it.

    The corpus is swapped in one assignment when a newer snapshot is published, when new posts are in the lake, and at every
    tick of its posts' moment; a running request keeps its own.
    """

    def __init__(self, settings: Settings, manifest: dict, producer: EventProducer | None = None) -> None:
        """Load everything; raises ReleaseError, BundleError or SnapshotMissing, each saying what to run first."""
        self.settings = settings
        self.manifest = manifest
        self.release_id: str = manifest["release_id"]
        self.default_preset = preset_named(manifest.get("weight_preset") or DEFAULT_PRESET).name
        self.metrics = MixerMetrics(self.release_id)
        self.bundle = ModelBundle.load(bundle_folder(settings, manifest), threads=RANKER_THREADS)
        self.online = OnlineFeatures(settings)
        self.online.warm()  # opens the store once, before worker threads share it
        self.recent_relations = RecentRelations()
        self.ids = RememberedIds(settings.platform_database_url)
        self.shown_heads = ShownHeads.of(self.bundle.trained_heads, self.ids.own_actions, settings.shown_heads)
        self.recently_served = RecentlyServed(self.release_id)
        self.producer = producer or EventProducer(settings)
        self._lake = Lake(settings.paths.lake)
        self._closing = threading.Event()
        self._refresher = threading.Thread(target=self._keep_fresh, name="corpus-refresh", daemon=True)
        self._fresh_posts = FreshPosts(self._lake)
        self.contexts = RankingContexts(
            settings.score_cache_users, settings.score_cache_ttl_s, self.metrics.observe_score_lookup
        )
        self.corpus = self._load_corpus(_now_us())
        self._take_up_posts()
        self.graph = self._load_graph()
        self.caller = Caller(COMPONENT_THREADS, self.metrics.observe_component)
        self.engine = Engine(self.caller)
        self.pipelines = self._products()
        self.not_ready: str | None = "not warmed up yet"  # None once real requests have been served well

    def start(self) -> None:
        """Begin to follow new snapshots."""
        self._refresher.start()

    def close(self) -> None:
        """Stop following, and hand the queued messages to the broker."""
        self._closing.set()
        if self._refresher.is_alive():
            self._refresher.join()
        self.caller.close()
        self.producer.close()

    def snapshot_age_s(self) -> float:
        """Seconds since the corpus in use was taken up by this process."""
        return time.monotonic() - self._corpus_since

    def event_platform(self) -> Platform:
        """What client events are completed and checked with, as of now."""
        earliest = max(EARLIEST, self.corpus.first_post - BEFORE_FIRST_POST)
        return Platform(self.ids, self.author_of, self.recently_served.of, earliest)

    def author_of(self, post_id: int) -> int | None:
        """The author of a post, or None where the snapshot does not hold it."""
        snapshot = self.corpus.snapshot
        row = int(snapshot.rows_of([post_id])[0])
        return int(snapshot.author_id[row]) if row >= 0 else None

    def declare(self, kind: EdgeKind, user_id: int, target_id: int) -> None:
        """Take note of a follow, mute or block that a user has just declared."""
        self.recent_relations.add(kind, user_id, target_id)

    def refresh(self, now_us: int | None = None) -> bool:
        """Take up a newer snapshot, the tick of `now_us` (default: of now) and posts that are new in the lake.

        Returns whether there was a newer snapshot.
        """
        now_us = _now_us() if now_us is None else now_us
        newer = current_version(self.settings) != self.corpus.version
        if newer:
            self.ids.reload()
            self.corpus = self._load_corpus(now_us)
            if time.monotonic() - self._graph_since > GRAPH_REFRESH_S:
                self.graph = self._load_graph()
            self.metrics.snapshot_swaps.labels("ok").inc()
        self._take_up_tick(now_us)
        self._take_up_posts()
        return newer

    def _take_up_tick(self, now_us: int) -> None:
        started = time.perf_counter()
        corpus = self.corpus.at(now_us, self.bundle)
        if corpus is not self.corpus:
            self.corpus = corpus
            self.metrics.posts_prepared.observe(time.perf_counter() - started)

    def _take_up_posts(self) -> None:
        fresh = self._fresh_posts.beyond(self.corpus.snapshot)
        if fresh is not None:
            self.corpus = self.corpus.with_posts(fresh, self.bundle)
            self.metrics.fresh_posts.inc(len(fresh))

    def _keep_fresh(self) -> None:
        while not self._closing.wait(REFRESH_S):
            try:
                self.refresh()
            except Exception:  # serving the old corpus beats serving nothing; its age and this counter tell
                self.metrics.snapshot_swaps.labels("failed").inc()
                logger.exception("could not bring the corpus up to date; still serving %s", self.corpus.version)

    def _load_corpus(self, now_us: int) -> Corpus:
        tick_us = round(self.settings.projection_tick_s * 1e6)
        corpus = Corpus.build(load_snapshot(self.settings), self.bundle, now_us, tick_us, self.settings.retrieval_index)
        self._corpus_since = time.monotonic()
        return corpus

    def _load_graph(self) -> SocialGraph:
        graph = SocialGraph.from_edges(current_edges(self._lake))
        self._graph_since = time.monotonic()
        return graph

    def _served_log(self) -> ServedLog:
        return ServedLog(self.producer, self.release_id, self.bundle.trained_heads, self.metrics.observe_served_log)

    def _served_vectors(self) -> ServedVectorSampler:
        log = ServedVectorLog(self.settings.paths.served_vectors, f"{self.release_id}-{os.getpid()}")
        return ServedVectorSampler(log, self.release_id, self.settings.served_sample_every_s)

    def _products(self) -> dict[str, Pipeline]:
        logged = self._served_log()
        parts = Parts(
            self.bundle,
            self.online,
            lambda: self.graph,
            self.recent_relations,
            self.contexts,
            side_effects=(logged, self._served_vectors()),
            score_side_effects=(logged,),
        )
        pipelines = (for_you.for_you(parts), following.following(parts), given_posts.given_posts(parts))
        return {pipeline.name: pipeline for pipeline in pipelines}


def _now_us() -> int:
    return time.time_ns() // 1_000
