"""Everything that the gateway's endpoints share, made once per app."""

from __future__ import annotations

from dataclasses import dataclass

from infra.settings import Settings
from monitoring.canary.looks import Looks
from services.experiments.store import Experiments
from services.gateway.answer_log import AnswerLog
from services.gateway.arms import ArmPool
from services.gateway.auth import Gatekeeper
from services.gateway.fast_path import FastPath
from services.gateway.feature_metrics import FeatureMetrics
from services.gateway.metrics import GatewayMetrics, RecentTraffic
from services.gateway.paired_scores import PairedScores
from services.gateway.process_watch import ProcessWatch
from services.gateway.proxy import Proxy
from services.gateway.shadow import Shadow
from services.gateway.stream_watch import StreamWatch
from services.intake.producer import EventProducer
from services.releases.approvals import Approvals
from services.releases.ledger import Ledger
from services.releases.rollouts import Rollouts


@dataclass(frozen=True)
class Door:
    """The gateway's parts."""

    settings: Settings
    ledger: Ledger
    gatekeeper: Gatekeeper
    approvals: Approvals
    rollouts: Rollouts
    looks: Looks
    metrics: GatewayMetrics
    traffic: RecentTraffic
    pool: ArmPool
    shadow: Shadow
    proxy: Proxy
    fast_path: FastPath
    experiments: Experiments
    watch: StreamWatch
    processes: ProcessWatch

    @staticmethod
    def open(settings: Settings) -> Door:
        """Open the platform's database; nothing runs before the pool is started."""
        url = settings.platform_database_url
        ledger, metrics, traffic = Ledger(url), GatewayMetrics(), RecentTraffic()
        experiments = Experiments(url)
        pool, shadow = ArmPool(ledger, metrics, experiments), Shadow(metrics)
        fast_path = FastPath(pool, ledger, metrics)
        answers = AnswerLog(EventProducer(settings, known_by_ids=False), metrics)
        pairs = PairedScores(metrics, settings.paired_scores_per_s)
        proxy = Proxy(pool, metrics, traffic, shadow, fast_path, answers, pairs)
        watch, processes = StreamWatch(settings), ProcessWatch(settings)
        metrics.registry.register(FeatureMetrics(watch, settings.paths.reports))
        metrics.registry.register(processes)
        return Door(
            settings=settings,
            ledger=ledger,
            gatekeeper=Gatekeeper(settings),
            approvals=Approvals(url),
            rollouts=Rollouts(url),
            looks=Looks(url),
            metrics=metrics,
            traffic=traffic,
            pool=pool,
            shadow=shadow,
            proxy=proxy,
            fast_path=fast_path,
            experiments=experiments,
            watch=watch,
            processes=processes,
        )
