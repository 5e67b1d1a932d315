"""What a release is made of: immutable, and identified by its content."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

_RELEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ReleaseManifest(BaseModel):
    """Everything that decides what a release answers. Two manifests with equal `content_hash` answer alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    release_id: str = Field(description="Unique name, also in every served event; letters, digits, dot, dash, underscore.")
    bento_tag: str = Field(description="Tag of the built bento that serves it, `name:version`.")
    model_name: str = Field("home-mixer", description="Name in the model registry.")
    model_version: str = Field(description="Version in the model registry.")
    bundle: str = Field(description="Folder of the model bundle that the bento holds.")
    feature_service: str = Field(description="Feature service that the models read.")
    weight_preset: str = Field(description="Named preset of the weights of the ranker's heads.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the mixer that change its answers.")
    data_fingerprint: str = Field(description="Fingerprint of the training data.")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("release_id")
    @classmethod
    def _release_id_is_a_name(cls, value: str) -> str:
        if not _RELEASE_ID.fullmatch(value):
            raise ValueError(f"release_id {value!r} must be 1-64 letters, digits, dots, dashes or underscores")
        return value

    @field_validator("created_at")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the manifest as canonical JSON."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def canonical_json(self) -> str:
        """JSON with sorted keys and no spaces: equal manifests give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
