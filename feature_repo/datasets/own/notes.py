"""What a person should know of a dataset before it is learned from: what was derived, what is missing, what looks wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_repo.datasets.own.adapter import OwnData


def derived_and_missing(data: OwnData) -> list[str]:
    """What was derived or sampled, and what can therefore not be judged; whole sentences."""
    told = []
    if data.derived_impressions:
        told.append(
            "The files have no impressions: one was derived for each user, post and session. Calibration, rates per "
            "impression and off-policy estimates can't be judged."
        )
        if data.sampled_negatives:
            told.append(
                f"{data.sampled_negatives} posts were sampled beside each derived impression by popularity: offline "
                "quality compares with these, not with what users really saw."
            )
    elif data.mapping.events.impressions == "rows":
        told.append("Every row counts as an impression: what users saw and left alone is known only where a row says so.")
    if "propensity" not in data.columns:
        told.append("No propensity is given: off-policy estimates of the logged days can't be judged.")
    if not _names_an_author(data):
        told.append("No author is given: each post has an unknown author of its own, and features of authors say nothing.")
    return told


def _names_an_author(data: OwnData) -> bool:
    """Whether a row of the events or of the posts does."""
    posts = data.side_rows().get("posts")
    if posts is not None and posts.frame["author_id"].count():
        return True
    return "author_id" in data.columns and data.survey.rows_without_author < data.survey.rows
