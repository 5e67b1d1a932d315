"""Requests and responses of the mixer's API, with the examples that its OpenAPI page shows."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, field_validator

from feature_repo.contracts import MOST_PRODUCT, MOST_REQUEST_ID
from feature_repo.served_messages import DEFAULT_POSTS
from feature_repo.surfaces import check_surface
from services.intake.events import ClientEvent
from services.intake.id_fields import ClientId, ShownId, id_list
from services.ranking.weights import PRESETS

MOST_POSTS = 200  # a page
MOST_SEEN = 5_000  # what the 2023 home mixer remembers as seen
MOST_SCORED = 1_000  # posts of one /score
MOST_EVENTS = 1_000  # events of one batch

SeenPosts = id_list(MOST_SEEN)
ScoredPosts = id_list(MOST_SCORED, least=1)

UserId = Field(description="A whole number or text. A user that nobody knows gets a cold-start timeline.")
RequestedAt = Field(None, description="Moment of use, ISO 8601 with a time zone; now when absent. Set when a log is replayed.")
Weights = Field(None, description=f"Weight preset: one of {', '.join(PRESETS)}; the release's own when absent.")
Product = Field(
    None,
    min_length=1,
    max_length=MOST_PRODUCT,
    description="Surface that the ranker sees: where the client shows the page, by the name that its events give it.",
)


class RankingRequest(BaseModel):
    """What all ranking requests share. Unknown fields are refused: a misspelt one would be ignored silently."""

    model_config = ConfigDict(extra="forbid")

    user_id: ClientId = UserId
    product: str | None = Product
    requested_at: AwareDatetime | None = RequestedAt
    weights: str | None = Weights
    request_id: str | None = Field(None, min_length=1, max_length=MOST_REQUEST_ID, description="Made up when absent.")

    @field_validator("product", "request_id")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("nothing but white space; give a name or leave it out")
        if value is not None and "\0" in value:
            raise ValueError("holds a NUL character; leave it out")
        return value

    @field_validator("product")
    @classmethod
    def _is_a_surface(cls, value: str | None) -> str | None:
        if value is not None:
            check_surface(value)
        return value

    @field_validator("weights")
    @classmethod
    def _known_preset(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"there is no weight preset {value!r}; choose one of {', '.join(PRESETS)}")
        return value


class TimelineRequest(RankingRequest):
    """Ask for a page of a timeline."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": 7, "count": 20, "seen_post_ids": [101, 102]}]},
    )

    count: StrictInt = Field(DEFAULT_POSTS, ge=1, le=MOST_POSTS, description=f"Posts wanted, 1 to {MOST_POSTS}.")
    seen_post_ids: SeenPosts = Field(default_factory=list, description="Posts not to show again.")


class ScoreRequest(RankingRequest):
    """Ask what the ranker thinks of given posts."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user_id": 7, "post_ids": [101, 102], "product": "home"}]}
    )

    post_ids: ScoredPosts = Field(description=f"Posts to score, 1 to {MOST_SCORED:,}; scores come in their order.")


class ExplainRequest(TimelineRequest):
    """Ask why a post is or is not on a timeline; without `post_id`, why each post of the page is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"user_id": 7, "post_id": 101}]})

    post_id: ClientId | None = Field(None, description="The post asked about; every post of the page when absent.")


# The user may be named once for all events.
_EVENT_SCHEMA = {**ClientEvent.model_json_schema(), "required": ["post_id", "action"]}


class EventsRequest(BaseModel):
    """A batch of things that users did. Each event is examined by itself; see ClientEvent for its fields."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"user_id": 7, "events": [{"post_id": 101, "action": "click", "product": "for_you", "request_id": "r-1"}]}
            ]
        },
    )

    user_id: ClientId | None = Field(None, description="Of the events that name no user.")
    events: list[Any] = Field(
        min_length=1,
        max_length=MOST_EVENTS,
        description="Things that users did.",
        json_schema_extra={"items": _EVENT_SCHEMA},  # for readers: each event is validated by itself, so that others pass
    )


class TimelinePost(BaseModel):
    """A post on a page. `predictions`: probability of each action; empty where the product does not rank."""

    post_id: ShownId
    author_id: ShownId
    score: float
    position: int
    source: str
    reason: str
    predictions: dict[str, float]


class Stage(BaseModel):
    """One component's run in the funnel."""

    stage: str
    kind: str
    before: int
    after: int
    removed: int
    took_ms: float
    failure: str


class TimelineResponse(BaseModel):
    """A page, best first, with the funnel it came through and the components that failed on the way."""

    request_id: str
    user_id: ShownId
    product: str
    release: str
    served_at: str
    posts: list[TimelinePost]
    funnel: list[Stage]
    degraded: list[str]
    took_ms: float


class PostScore(BaseModel):
    """`known` false: the post is not in the snapshot, and score and predictions are null."""

    post_id: ShownId
    known: bool
    score: float | None
    predictions: dict[str, float] | None


class ScoreResponse(BaseModel):
    """Scores in the order of the request."""

    request_id: str
    user_id: ShownId
    release: str
    scores: list[PostScore]
    took_ms: float


class HeadContribution(BaseModel):
    """What one predicted action adds to the weighted sum."""

    head: str
    probability: float
    weight: float
    contribution: float


class PostExplanation(BaseModel):
    """Why a post is shown or not. outcome: selected, reserve, removed or not_proposed; rule: what removed it."""

    post_id: ShownId
    outcome: str
    rule: str | None
    stage: str | None
    position: int | None
    sources: list[str]
    why: list[str]
    scores: dict[str, float]
    heads: list[HeadContribution]


class ExplainResponse(BaseModel):
    """Explanations, and the funnel that they refer to."""

    request_id: str
    user_id: ShownId
    product: str
    release: str
    posts: list[PostExplanation]
    funnel: list[Stage]
    ends: dict[str, int]
    degraded: list[str]


class RejectedEvent(BaseModel):
    index: int
    reason: str


class EventsResponse(BaseModel):
    """How many events the broker has, and which were refused and why (those go to the dead letters)."""

    accepted: int
    rejected: list[RejectedEvent]


class ErrorBody(BaseModel):
    code: str
    message: str
    remedy: str


class ErrorResponse(BaseModel):
    """Every 4xx and 5xx answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "code": "invalid_request",
                        "message": "count: Input should be greater than or equal to 1 (got -3)",
                        "remedy": "correct the field and send the request again",
                    }
                }
            ]
        }
    )

    error: ErrorBody
