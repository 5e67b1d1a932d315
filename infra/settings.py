"""The one typed settings object. No other module reads an environment variable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from infra.sqlite_url import sqlite_url
from infra.storage import Paths

# Feast sets it when it is imported, to a folder that goes with that process: a child would keep its metrics there.
OF_ONE_PROCESS = ("PROMETHEUS_MULTIPROC_DIR", "MIXER_LISTEN_FD", "MIXER_HELD_SOCKETS", "MIXER_TOKEN")

# In this process and in every child process: telemetry of every library off, and threads that yield.
LIBRARIES = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Torch's threads would spin at every barrier and take the core that another process needs (measured: scoring takes ten
    # times as long beside one busy process). Read when torch is imported.
    "GOMP_SPINCOUNT": "0",
}


Share = Annotated[float, Field(ge=0, le=1)]


def _names(value: Any) -> Any:
    """Names of one text, with commas between them."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]


class Settings(BaseSettings):
    """Every knob of the platform; each is the environment variable `MIXER_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="MIXER_", extra="ignore")

    home: Path = Field(Path("var"), description="Folder that holds all run-time state.")
    data: Path | None = Field(None, description="First folder searched for datasets, or a file of your own events.")
    dataset: Literal["auto", "own", "kuairand", "world"] = Field(
        "auto",
        description="Dataset of the main job; `auto` takes your own events where found, else KuaiRand, else the simulated "
        "world.",
    )
    world_users: int = Field(1_500, ge=20, description="Accounts in the simulated world.")
    world_posts: int = Field(3_000, ge=20, description="Posts in the simulated world.")
    seed: int = Field(7, description="Seed of every random draw.")

    host: str = Field("127.0.0.1", description="Address that the local servers bind to.")
    gateway_port: int = Field(8600, description="Port of the gateway: the one door and the control room.")
    prefect_port: int = Field(8610, description="Port of the Prefect server.")
    mlflow_port: int = Field(8620, description="Port of the MLflow page.")
    evidently_port: int = Field(8630, description="Port of the Evidently page.")
    broker_port: int = Field(8640, description="Port of the local Kafka-protocol broker.")
    mixer_base_port: int = Field(8650, description="First port tried for a release's mixer process.")

    broker_address: str | None = Field(
        None, description="host:port of a Kafka broker; unset means the local broker on `broker_port`."
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL of the ledger's database; unset means SQLite under `home`."
    )
    outcomes_database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the outcomes' database; unset means `database_url` where that is set, else SQLite under "
        "`home`.",
    )
    mlflow_tracking_uri: str | None = Field(None, description="MLflow tracking URI; unset means SQLite under `home`.")
    online_store: Literal["sqlite", "redis"] = Field("sqlite", description="Feast's online store.")
    redis_url: str = Field("localhost:6379", description="Redis address, used when `online_store` is `redis`.")

    ranker_preset: Literal["isolation_transformer", "masknet"] = Field(
        "isolation_transformer", description="Design of the heavy ranker that a training makes."
    )
    ranker_members: int = Field(
        2, ge=1, description="Networks whose mean is the heavy ranker; each costs its training and its share of every request."
    )
    ranker_teacher_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the heavy ranker's targets that boosted trees expect instead of what was logged; 0 = none.",
    )
    ranker_kept_negatives: float = Field(
        1.0, gt=0, le=1, description="Share of each action's negatives that a training learns from; corrected for exactly."
    )
    ranker_calibration: Literal["auto", "none", "temperature", "platt", "isotonic"] = Field(
        "auto", description="How the heavy ranker's probabilities are calibrated; `auto` chooses by head on rows kept out."
    )
    ranker_ensemble: bool = Field(
        True,
        description="Stack boosted trees and popularity on the heavy ranker, for the actions that gain by it on rows kept out.",
    )
    ranker_patience: int = Field(
        0,
        ge=0,
        description="Quarter epochs without a gain on rows kept out that end the training; 0 = none does.",
    )
    heads_least: int = Field(
        30,
        ge=1,
        description="Exposures followed by an action, and as many that were not, that a training needs to learn it; an action "
        "with fewer answers its base rate.",
    )
    deciding_heads: Names = Field(
        (),
        description="Actions that gate a challenger, decide in canaries and drift checks, and stand in the headline, with "
        "commas between them; unset means the commonest.",
    )
    shown_heads: Names = Field(
        (), description="Actions whose probabilities answers and pages show; unset means all that the release was trained for."
    )
    train_processes: int = Field(
        1, ge=1, description="Processes of this machine that train the networks together; they share `threads`."
    )
    train_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the networks are trained; `auto` takes a GPU where there is one."
    )
    train_precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision of training's products; `auto` is bfloat16 on a GPU that has it, float32 on a CPU."
    )
    retrieval_index: Literal["auto", "exact", "approximate"] = Field(
        "auto", description="Index over the posts' retrieval vectors; `auto` is exact for small catalogues."
    )
    projection_tick_s: float = Field(
        60.0,
        gt=0,
        description="Seconds after which a mixer prepares its posts anew: their aggregates stand as of the last such tick.",
    )
    score_cache_users: int = Field(
        2_000, ge=0, description="Users whose last scores and encoded context a mixer keeps for their next request; 0 = none."
    )
    score_cache_ttl_s: float = Field(
        180.0, ge=0, description="Seconds for which a user's scores are used again while nothing new is known of the user."
    )
    threads: int = Field(2, ge=1, description="Threads that a training or serving process may use.")
    approval_timeout_s: int = Field(172_800, description="How long a release waits for a person, in seconds.")
    replay_user_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of users whose visits the demo replays as requests; events are always all replayed.",
    )

    ingest_may_drop: bool = Field(
        False, description="Whether an ingestion takes days out of the lake that the files no longer hold, instead of refusing."
    )
    split_train_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the events that train the first model; what is left is replayed and meets the canary. "
        "Unset means the dataset's own split, else 0.7, and 0.85 where nothing is held out.",
    )
    quarantine_bound: Share = Field(
        0.01, description="Share of a table's rows that may break hard rules before validation fails; they are set aside."
    )
    quarantine_bounds: dict[str, Share] = Field(
        {},
        description='Bounds of single rules as JSON, such as `{"events.post_is_known": 0.2}`: the share of rows that may '
        "break that rule, in place of `quarantine_bound` (hard rules) or of what the report warns at (soft rules).",
    )

    served_sample_every_s: float = Field(
        2.0, gt=0, description="A mixer logs the feature vectors of at most one request in this many seconds."
    )
    consistency_bound: float = Field(
        0.01, ge=0, le=1, description="Share of served vectors of a family that may differ from recomputed ones."
    )
    freshness_bound_s: float = Field(
        10.0, gt=0, description="Seconds that the oldest event not yet applied may wait at the broker before the alert fires."
    )

    release_manifest: Path | None = Field(
        None, description="Manifest file that a mixer process serves; the supervisor sets it."
    )
    token: SecretStr | None = Field(
        None, description="Your own token for releases, from `mixer users add`; without it the machine's admin token is used."
    )
    judge_policy: Path | None = Field(
        None, description="YAML file with what the judge of canaries tolerates; unset means monitoring/canary/policy.yaml."
    )
    label_wait_s: float = Field(
        1_800.0,
        ge=0,
        description="Seconds, by the clock of the events, after which a page's labels are taken for complete enough to judge "
        "predictions by; what comes later still counts.",
    )
    engagement_weights: dict[str, float] = Field(
        {},
        description='What an action that follows a page is worth to the judge, as JSON such as `{"like": 3}`; unset means 1 '
        "for an opening or a completion, 2 for praise.",
    )
    outcomes_kept_days: float = Field(
        180.0,
        gt=0,
        description="Days for which the outcomes of a release or an experiment are kept after the last of them came: a rollout "
        "can be judged anew so long.",
    )
    paired_scores_per_s: float = Field(
        20.0,
        ge=0,
        description="During a canary: pages a second of which the door asks the other release what it would have predicted; "
        "the judge compares both. 0 = none.",
    )
    notifications: Path | None = Field(
        None,
        description="Apprise configuration file with addresses (webhook, e-mail, chat) that are told what becomes of releases.",
    )
    four_eyes: bool = Field(False, description="Whoever asked for a release may not approve it.")
    keeper: bool = Field(
        True, description="Start again what dies of the platform; off where something else does it, such as Kubernetes."
    )
    held_sockets: str = Field(
        "", description="Listening sockets that the keeper was handed, as name=number; the supervisor sets it."
    )
    heartbeat: Path | None = Field(
        None, description="File that a process without an address touches while its loop turns; the supervisor sets it."
    )
    listen_fd: int | None = Field(
        None, description="Number of the listening socket that the gateway was handed; the supervisor sets it."
    )

    @property
    def broker(self) -> str:
        """Address of the Kafka broker as host:port."""
        return self.broker_address or f"{self.host}:{self.broker_port}"

    @property
    def gateway_url(self) -> str:
        return f"http://{self.host}:{self.gateway_port}"

    @property
    def prefect_api_url(self) -> str:
        return f"http://{self.host}:{self.prefect_port}/api"

    @property
    def paths(self) -> Paths:
        return Paths(self.home.absolute())

    @property
    def platform_database_url(self) -> str:
        return self.database_url or sqlite_url(self.paths.platform_database)

    @property
    def outcomes_url(self) -> str:
        """Where outcomes are. In a file of their own: SQLite has one writer at a time, and the ledger must not wait."""
        return self.outcomes_database_url or self.database_url or sqlite_url(self.paths.outcomes_database)

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_tracking_uri or sqlite_url(self.paths.mlflow / "mlflow.db")

    def child_environment(self) -> dict[str, str]:
        """Environment that every process of the platform is started with, on top of the caller's own."""
        environment = {
            **LIBRARIES,
            "MIXER_HOME": str(self.paths.home),
            "PREFECT_API_URL": self.prefect_api_url,
            "PREFECT_HOME": str(self.paths.prefect),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "BENTOML_HOME": str(self.paths.bentoml),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "PYTHONUNBUFFERED": "1",
        }
        if "?" in str(self.paths.home):  # Prefect's own default would end at the "?"
            prefect = self.paths.prefect / "prefect.db"
            environment["PREFECT_API_DATABASE_CONNECTION_URL"] = sqlite_url(prefect, "sqlite+aiosqlite")
        # Whatever was chosen here holds in the children too, however it was chosen.
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name not in ("home", "listen_fd", "held_sockets", "token") and value != field.default:
                environment[f"MIXER_{name.upper()}"] = _as_text(value)
        return environment

    def process_environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a child process: the caller's own without what ends with it, the platform's, and `extra`."""
        inherited = {name: value for name, value in os.environ.items() if name not in OF_ONE_PROCESS}
        return {**inherited, **self.child_environment(), **extra}


def _as_text(value: Any) -> str:
    """`value` as its environment variable holds it."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value.absolute() if isinstance(value, Path) else value)


def without_password(text: str) -> str:
    """`text` with the password of an address in it hidden: what is shown to people ends up in logs and in messages."""
    return re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()


def quiet_libraries() -> None:
    """Set what all libraries read at import, and nothing that names a place."""
    os.environ.update(LIBRARIES)


def apply_environment(settings: Settings | None = None) -> Settings:
    """Set the libraries' own environment variables in this process; call before importing them."""
    settings = settings or get_settings()
    settings.paths.prefect.mkdir(parents=True, exist_ok=True)  # Prefect complains where its parent is missing
    os.environ.update(settings.child_environment())
    return settings
