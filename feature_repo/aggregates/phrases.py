"""The words of the catalogue: what a measure of a family is called in a sentence."""

from __future__ import annotations

from feature_repo.aggregates.families import Family
from feature_repo.aggregates.measures import UNDATED, VALUED
from feature_repo.contracts import Action

# Action -> one, many, and the preposition before what they happen to.
NOUNS = {
    Action.IMPRESSION: ("impression", "impressions", "of"),
    Action.CLICK: ("click", "clicks", "on"),
    Action.LIKE: ("like", "likes", "of"),
    Action.REPLY: ("reply", "replies", "to"),
    Action.REPOST: ("repost", "reposts", "of"),
    Action.QUOTE: ("quote", "quotes", "of"),
    Action.SHARE: ("share", "shares", "of"),
    Action.BOOKMARK: ("bookmark", "bookmarks", "of"),
    Action.FOLLOW: ("follow", "follows", "from"),
    Action.PROFILE_CLICK: ("profile click", "profile clicks", "from"),
    Action.DWELL: ("stay", "stays", "on"),
    Action.VIDEO_VIEW: ("quality view", "quality views", "of"),
    Action.NOT_INTERESTED: ("'not interested'", "'not interested' answers", "to"),
    Action.MUTE: ("mute", "mutes", "from"),
    Action.BLOCK: ("block", "blocks", "from"),
    Action.REPORT: ("report", "reports", "of"),
    **{Action(f"own_{place}"): (f"own action {place}", f"own actions {place}", "on") for place in range(1, 9)},
}

# Which ids of a key name the thing acted on, the most specific wording first.
TARGETS = (
    (("post_id",), "the post"),
    (("author_id", "topic"), "the author's posts of the topic"),
    (("author_id",), "the author's posts"),
    (("topic",), "posts of the topic"),
)
CIRCUMSTANCES = {"hour": "at the hour of the day (UTC)", "product": "on the surface"}

# Counterpart of a key -> how many of it a measure has met.
MEETINGS = {
    "user_id": ("users", "Different users behind {what}, ever."),
    "author_id": ("authors", "Different authors reached by {what}, ever."),
    "topic": ("topics", "Different topics reached by {what}, ever."),
}


def action_of(measure: str) -> Action:
    """The action whose events a measure counts or whose values it adds."""
    return Action(VALUED.get(measure) or UNDATED.get(measure) or measure)


def phrase(family: Family, measure: str) -> str:
    """What a measure counts, as in `the user's clicks on the author's posts`."""
    _, many, preposition = NOUNS[action_of(measure)]
    words = [many]
    for ids, target in TARGETS:
        if set(ids) <= set(family.ids):
            words += [preposition, target]
            break
    words += [CIRCUMSTANCES[column] for column in family.ids if column in CIRCUMSTANCES]
    if measure in UNDATED:
        words.append("from before the first logged day")
    return " ".join(["the user's", *words] if "user_id" in family.ids else words)


def one(measure: str) -> str:
    """A single event of a measure, as in `click`."""
    return NOUNS[action_of(measure)][0]


def met(family: Family, pair: Family) -> str:
    """What the first meetings of a pair family count for this family, as in `authors`."""
    return MEETINGS[counterpart(family, pair)][0]


def counterpart(family: Family, pair: Family) -> str:
    """The id column of a pair family that this family's key does not hold."""
    others = [column for column in pair.ids if column not in family.ids]
    if len(others) != 1:
        raise ValueError(f"{pair.name} is no pair of {family.name} with one other id: its ids are {pair.ids}")
    return others[0]
