"""The platform's long-running processes: what each one's command is, and how it shows that it is ready and does not hang."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from infra.process_spec import ProcessSpec
from infra.settings import Settings
from infra.supervisor import KEEPER

WORK_POOL = "home-mixer"
LONG_QUEUE = "default"  # Prefect makes it with the pool: trainings, features, whatever may take long
URGENT_QUEUE = "urgent"  # rollbacks and what follows a release: a worker of its own serves it
LONG_AT_ONCE = 2  # what two cores bear
SLOW_TOOL_S = 180.0  # in which a tool's server may be busy with one request
LONG_STEP_S = 600.0  # in which the stream worker may be busy with one step, where much comes late
URGENT_AT_ONCE = 3  # one each of reconcile, release_ended and rollback: none waits for another whose mixer is slow to start

# Stopping order of `mixer down`: first what would start others again, then what talks to people, last what others write to.
STOP_ORDER = (
    KEEPER,
    "gateway",
    "controller",
    "prefect-worker",
    "prefect-urgent-worker",
    "stream-worker",
    "outcomes",
    "mlflow-ui",
    "evidently-ui",
)


def _tool(name: str) -> str:
    """A console script of the interpreter that runs us, so that no PATH is needed."""
    return str(Path(sys.executable).parent / name)


def keeper(settings: Settings) -> ProcessSpec:
    """The process that starts the others again."""
    # It starts others with the settings that it was started with: with other settings, another one is needed.
    chosen = hashlib.sha256(repr(sorted(settings.child_environment().items())).encode()).hexdigest()
    return ProcessSpec(KEEPER, (sys.executable, "-m", "infra.process_keeper"), environment={"MIXER_KEEPER_OF": chosen})


def broker(settings: Settings) -> ProcessSpec:
    """A real server that speaks Kafka's protocol; production points `broker_address` at Apache Kafka instead."""
    settings.paths.broker.mkdir(parents=True, exist_ok=True)
    command = (
        _tool("noida-db"), "start", "--only", "kafka",
        "--kafka-port", str(settings.broker_port), "--data-dir", str(settings.paths.broker),
    )  # fmt: skip
    return ProcessSpec("broker", command, ready_port=settings.broker_port)


def prefect_server(settings: Settings) -> ProcessSpec:
    command = (_tool("prefect"), "server", "start", "--host", settings.host, "--port", str(settings.prefect_port))
    return ProcessSpec(
        "prefect-server", command, ready_url=f"{settings.prefect_api_url}/health", ready_timeout_s=180, silent_s=SLOW_TOOL_S
    )


def prefect_worker(settings: Settings) -> ProcessSpec:
    """The worker of what may take long."""
    return _worker(settings, "prefect-worker", LONG_QUEUE, LONG_AT_ONCE, settings.prefect_port + 1)


def prefect_urgent_worker(settings: Settings) -> ProcessSpec:
    """The worker of what must not wait: a rollback does not queue behind two trainings."""
    return _worker(settings, "prefect-urgent-worker", URGENT_QUEUE, URGENT_AT_ONCE, settings.prefect_port + 2)


def _worker(settings: Settings, name: str, queue: str, at_once: int, health_port: int) -> ProcessSpec:
    command = (_tool("prefect"), "worker", "start", "--name", name, "--pool", WORK_POOL, "--work-queue", queue)
    command += ("--type", "process", "--limit", str(at_once), "--with-healthcheck")
    # The server's schedule and this poll decide how soon a triggered run starts.
    environment = {
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_PREFETCH_SECONDS": "5",
        "PREFECT_WORKER_WEBSERVER_HOST": settings.host,
        "PREFECT_WORKER_WEBSERVER_PORT": str(health_port),
    }
    address = f"http://{settings.host}:{health_port}/health"
    # A training or a release under way outlives its worker: it reports to the server by itself.
    return ProcessSpec(name, command, ready_url=address, environment=environment, silent_s=SLOW_TOOL_S, spares="prefect.engine")


def stream_worker(settings: Settings) -> ProcessSpec:
    command = (sys.executable, "-m", "feature_repo.aggregates.stream_worker")
    progress = settings.paths.stream / "progress.json"  # it has read its state by then, which takes minutes where it is large
    return ProcessSpec("stream-worker", command, ready_file=progress, ready_timeout_s=1200.0, beats=True, silent_s=LONG_STEP_S)


def gateway(settings: Settings) -> ProcessSpec:
    command = (sys.executable, "-m", "services.gateway")
    # Its /healthz is 200 only while a release is live; the process itself is ready as soon as it answers at all.
    address = (settings.host, settings.gateway_port)
    return ProcessSpec("gateway", command, ready_url=f"{settings.gateway_url}/livez", listens=address, silent_s=30.0)


def controller(settings: Settings) -> ProcessSpec:
    """What takes submitted releases along; it is ready as soon as it runs, and waits for what it needs."""
    return ProcessSpec("controller", (sys.executable, "-m", "services.releases"), beats=True, silent_s=120.0)


def outcomes(settings: Settings) -> ProcessSpec:
    """What joins served pages with the events that follow; it waits for the broker by itself."""
    return ProcessSpec("outcomes", (sys.executable, "-m", "monitoring.outcomes"), beats=True, silent_s=120.0)


def mlflow_page(settings: Settings) -> ProcessSpec:
    settings.paths.mlflow.mkdir(parents=True, exist_ok=True)  # its database lies there, and it makes no folder
    command = (_tool("mlflow"), "server", "--backend-store-uri", settings.tracking_uri, "--workers", "1")
    command += ("--host", settings.host, "--port", str(settings.mlflow_port))
    command += ("--artifacts-destination", str(settings.paths.mlflow / "artifacts"))
    address = f"http://{settings.host}:{settings.mlflow_port}/health"
    # Its job runner serves features that this platform does not use, with eight processes and 2 GB.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return ProcessSpec(
        "mlflow-ui",
        command,
        ready_url=address,
        ready_port=settings.mlflow_port,
        environment=environment,
        silent_s=SLOW_TOOL_S,
    )


def evidently_page(settings: Settings) -> ProcessSpec:
    workspace = settings.paths.reports / "drift" / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    command = (_tool("evidently"), "ui", "--workspace", str(workspace))
    command += ("--host", settings.host, "--port", str(settings.evidently_port))
    return ProcessSpec("evidently-ui", command, ready_port=settings.evidently_port)


# Of BLAS and OpenMP, for one product: where all cores are busy, a second thread spins while it waits for its turn. Measured at
# 32 requests a second on two busy cores: p50 620 ms with two threads, 25 ms with one.
ONE_ARRAY_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def mixer_name(release_id: str) -> str:
    """What the process of a release is called."""
    return f"mixer-{release_id}"


def mixer(settings: Settings, release_id: str, command: tuple[str, ...], port: int, manifest: Path) -> ProcessSpec:
    """One release's mixer process; `command` serves its bento on `port`."""
    return ProcessSpec(
        mixer_name(release_id),
        command,
        ready_url=f"http://{settings.host}:{port}/ready",
        ready_port=port,
        environment={"MIXER_RELEASE_MANIFEST": str(manifest), **ONE_ARRAY_THREAD},
        ready_timeout_s=180,
    )
