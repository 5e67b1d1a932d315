"""The platform's local processes, started and stopped together; the demo and `mixer up` share it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from feature_repo.aggregates.stream_seeded import is_seeded
from infra import processes
from infra.process_spec import ProcessSpec
from infra.processes import STOP_ORDER
from infra.settings import Settings
from infra.supervisor import Supervisor

if TYPE_CHECKING:
    from services.releases.route import Route

Tell = Callable[[str], None]


@contextmanager
def stream_worker_paused(settings: Settings) -> Iterator[None]:
    """Stop the platform's stream worker while the block runs; afterwards it works, unless the platform is down.

    Events wait at the broker meanwhile. A worker that another machine runs holds its state: then the block meets WorkerRunning.
    """
    supervisor, spec = Supervisor(settings), processes.stream_worker(settings)
    worked = supervisor.stop(spec.name)
    try:
        yield
    finally:
        if worked or (supervisor.running() and is_seeded(settings)):
            supervisor.start(spec)


@contextmanager
def one_change_at_a_time(settings: Settings, tell: Tell) -> Iterator[None]:
    """While the block runs, no other command brings this home's platform up or down; where one does, it is waited for."""
    settings.paths.pids.mkdir(parents=True, exist_ok=True)
    with (settings.paths.pids / "platform.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another command brings this platform up or down; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Platform:
    """Everything that runs on one machine, by way of the supervisor."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.supervisor = Supervisor(settings)

    def mend(self) -> list[str]:
        """Make a clean start of whatever state an earlier run left; returns what was wrong, in sentences.

        What runs goes on running, and is adopted when it is started again.
        """
        if self.supervisor.find(processes.KEEPER) is not None:
            return []  # whatever is dead now, it is about to start again
        dead = [name for name in self.supervisor.wanted_names() if self.supervisor.find(name) is None]
        for name in dead:
            if not name.startswith(processes.mixer_name("")):  # those the new keeper starts, whatever else goes wrong
                self.supervisor.stop(name)
        return [f"{name} was dead" for name in dead]

    def start_foundations(self) -> None:
        """The keeper that starts again what dies; broker and Prefect server, started but not yet awaited."""
        if self.settings.keeper:
            self.supervisor.start(processes.keeper(self.settings))
        for spec in (processes.broker(self.settings), processes.prefect_server(self.settings)):
            self.supervisor.start(spec)

    def await_foundations(
        self, *, paused_schedules: bool, tell: Tell, parameters: Mapping[str, dict[str, Any]] | None = None
    ) -> list[str]:
        """Wait for broker and server, register the deployments, start the workers; returns the deployments' names.

        parameters: by deployment, as `flows.deployments.register` takes them.
        """
        from flows.deployments import import_flows, register

        import_flows()  # in the time that the server needs
        for spec in (processes.broker(self.settings), processes.prefect_server(self.settings)):
            tell(f"waiting for {spec.name}")
            self.supervisor.wait_ready(spec)
        tell("registering deployments")
        names = register(self.settings, paused=paused_schedules, parameters=parameters)
        for spec in (processes.prefect_worker(self.settings), processes.prefect_urgent_worker(self.settings)):
            self.start(spec, wait=False)
        return names

    def start(self, spec: ProcessSpec, *, wait: bool = True) -> None:
        self.supervisor.start(spec)
        if wait:
            self.supervisor.wait_ready(spec)

    def start_serving(self, *, wait: bool = True) -> None:
        """Stream worker, gateway and the releases' controller: what clients need besides the mixers.

        Before the first features flow there is no state to work on: that flow starts the worker when there is.
        """
        if is_seeded(self.settings):
            self.start(processes.stream_worker(self.settings), wait=False)
        self.start(processes.outcomes(self.settings), wait=False)
        self.start(processes.controller(self.settings), wait=False)
        self.start(processes.gateway(self.settings), wait=wait)

    def seed_where_needed(self, tell: Tell) -> None:
        """Seed the stream worker's state where features were built and it was not: a tour was ended in between."""
        from feature_repo.snapshot import current_version
        from flows.steps.lakes import lived_until
        from flows.stream import seed_stream

        if current_version(self.settings) is not None and not is_seeded(self.settings):
            tell("seeding the stream worker's state")
            seed_stream.fn(lived_until(self.settings))

    def await_stream_worker(self) -> None:
        """Start the stream worker unless it runs, and return once it is at work. Raises ProcessFailed where it ends before."""
        self.start(processes.stream_worker(self.settings))

    def start_pages(self, *, wait: bool = True) -> None:
        """The pages of MLflow and Evidently."""
        specs = [processes.mlflow_page(self.settings), processes.evidently_page(self.settings)]
        for spec in specs:
            self.supervisor.start(spec)
        for spec in specs if wait else ():
            self.supervisor.wait_ready(spec)

    def bring_back_releases(self) -> list[dict[str, str]]:
        """Start the mixers that the ledger's route needs, as the reconcile flow does."""
        from flows.reconcile import reconcile_flow

        return reconcile_flow()

    def missing_mixers(self) -> dict[str, str]:
        """By process, what the ledger's route needs it for, of mixers that nobody has started."""
        from services.releases.ledger import Ledger

        if not self.is_wanted():
            return {}  # it is down
        ledger, wanted = Ledger(self.settings.platform_database_url), self.supervisor.wanted_names()
        route = ledger.route()
        parts = {"live": route.live, "canary": route.canary, "stand by": ledger.standby()}
        needed = {processes.mixer_name(release): part for part, release in parts.items() if release is not None}
        return {name: part for name, part in needed.items() if name not in wanted}

    def route(self) -> Route:
        """Which releases have the traffic."""
        from services.releases.ledger import Ledger

        return Ledger(self.settings.platform_database_url).route()

    def pages(self) -> dict[str, str]:
        """Where a person looks, by name."""
        host, settings = self.settings.host, self.settings
        return {
            "control room": f"{settings.gateway_url}/",
            "a timeline": f"{settings.gateway_url}/timeline",
            "flows and automations (Prefect)": f"http://{host}:{settings.prefect_port}",
            "models and runs (MLflow)": f"http://{host}:{settings.mlflow_port}",
            "drift reports (Evidently)": f"http://{host}:{settings.evidently_port}",
            "validation (Data Docs)": f"{settings.gateway_url}/reports/data_docs/index.html",
            "API documentation": f"{settings.gateway_url}/docs",
        }

    def is_wanted(self) -> bool:
        """Whether nobody took the platform down."""
        return "gateway" in self.supervisor.wanted_names()

    def stop(self) -> list[str]:
        """Stop everything, mixers after the gateway, databases last; returns what was stopped."""
        mixers = [process.name for process in self.supervisor.running() if process.name.startswith("mixer-")]
        return self.supervisor.stop_all([*STOP_ORDER, *mixers])
