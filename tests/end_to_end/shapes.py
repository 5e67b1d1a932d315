"""Logs in the shape of other people's: eight kinds, drawn from the shape and not from anyone's file.

Each writes its files into a folder, with the mapping that its owner would give: that of the examples in the docs, the one that
`mixer data inspect` guesses, or none.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from feature_repo.datasets.own.inspection import inspect
from tests.end_to_end.visits import Service, draw_visits, posts_of

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ALL_STAGES = ("ingest", "validate", "features", "train", "release", "stream", "replay", "drift", "bad_release", "pages")
TO_A_TIMELINE = ("ingest", "validate", "features", "train", "release", "pages")
TOPICS = ["politics", "sport", "science", "culture"]


@dataclass(frozen=True)
class Shape:
    """One kind of log. `write` fills a folder; `stages` of the tour are run on it."""

    name: str
    write: Callable[[Path], None]
    stages: tuple[str, ...] = ALL_STAGES
    drift_judged: bool = True  # whether the log holds rows enough for it


def example(name: str) -> Callable[[Path], None]:
    """Writes the small files of docs/examples as they are."""

    def write(folder: Path) -> None:
        shutil.copytree(EXAMPLES / name, folder, dirs_exist_ok=True)

    return write


def _mapped_as(folder: Path, name: str) -> None:
    shutil.copy(EXAMPLES / name / "mapping.yaml", folder / "mapping.yaml")


def news(folder: Path) -> None:
    """Text ids, impressions and clicks, a surface of its own, American dates of New York."""
    visits = draw_visits(Service(), seed=1)
    _mapped_as(folder, "news")
    new_york = pl.col("at").dt.convert_time_zone("America/New_York").dt.strftime("%m/%d/%Y %I:%M:%S %p").alias("when")
    shown = visits.select(
        (pl.lit("v") + pl.col("visit").cast(str)).alias("visit"),
        (pl.lit("reader-") + pl.col("user").cast(str)).alias("reader"),
        (pl.lit("N") + pl.col("post").cast(str)).alias("article"),
        pl.lit("shown").alias("what"),
        new_york,
        pl.lit("front page").alias("page"),
        pl.col("place").alias("slot"),
        "opened",
    )
    rows = pl.concat([shown, shown.filter("opened").with_columns(pl.lit("opened").alias("what"))]).drop("opened")
    rows.with_row_index("id").write_csv(folder / "behaviors.tsv", separator="\t")
    posts_of(visits).select(
        (pl.lit("N") + pl.col("post").cast(str)).alias("article"),
        (pl.lit("desk-") + pl.col("author").cast(str)).alias("desk"),
        (pl.lit("Headline ") + pl.col("post").cast(str)).alias("headline"),
        pl.col("topic").replace_strict(dict(enumerate(TOPICS))).alias("sections"),
        pl.col("created").dt.convert_time_zone("America/New_York").dt.strftime("%Y-%m-%d %H:%M").alias("published"),
    ).write_csv(folder / "articles.csv")


def shop(folder: Path) -> None:
    """Times in whole milliseconds, no authors, no impressions, no table but events."""
    visits = draw_visits(Service(), seed=2)
    _mapped_as(folder, "shop")
    kept = visits.select(
        (pl.col("at").dt.epoch("ms")).alias("timestamp"),
        (pl.col("user") + 257_000).alias("visitorid"),
        (pl.col("post") + 5_000).alias("itemid"),
        "opened",
        "completed",
        "liked",
    )
    events = [
        kept.filter(flag).with_columns(pl.lit(name).alias("event"), pl.col("timestamp") + later)
        for flag, name, later in (("opened", "view", 0), ("completed", "addtocart", 20_000), ("liked", "transaction", 90_000))
    ]
    pl.concat(events).select("timestamp", "visitorid", "event", "itemid").write_csv(folder / "events.csv")


def music(folder: Path) -> None:
    """Nothing but plays."""
    visits = draw_visits(Service(), seed=3)
    _mapped_as(folder, "music")
    visits.select(
        (pl.lit("listener-") + pl.col("user").cast(str)).alias("listener"),
        (pl.lit("track-") + pl.col("post").cast(str)).alias("track"),
        (pl.lit("artist-") + pl.col("author").cast(str)).alias("artist"),
        pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("played_at"),
        pl.col("seconds").cast(int),
    ).write_csv(folder / "plays.csv")


def microblog(folder: Path) -> None:
    """Follows, text and topics, and a clock that was wrong: rows of 2106."""
    visits = draw_visits(Service(), seed=4)
    _mapped_as(folder, "microblog")
    flags = {"liked": "like", "completed": "reply", "disliked": "hide"}
    lines = []
    for row in visits.iter_rows(named=True):
        event = {"user": f"u{row['user']}", "post": f"p{row['post']}", "session": f"s{row['visit']}", "rank": row["place"]}
        lines.append({**event, "kind": "seen", "at": row["at"].isoformat()})
        later = (row["at"] + timedelta(seconds=30)).isoformat()
        lines += [{**event, "kind": kind, "at": later} for flag, kind in flags.items() if row[flag]]
    for number in range(3):
        lines[number * 7]["at"] = f"2106-02-07T06:28:1{number}Z"
    _write_lines(folder / "events.jsonl", [{"id": number, **line} for number, line in enumerate(lines)])
    posts = posts_of(visits).iter_rows(named=True)
    _write_lines(
        folder / "posts.jsonl",
        [
            {
                "id": f"p{post['post']}",
                "by": f"u{post['author']}",
                "at": post["created"].isoformat(),
                "tags": [TOPICS[post["topic"]], "daily"],
                "body": f"About {TOPICS[post['topic']]}, note {post['post']}.",
                "lang": "en",
                "reply_to": f"p{post['post'] - 1}" if post["post"] % 10 == 9 else None,
            }
            for post in posts
        ],
    )
    users = sorted(visits["user"].unique())
    pl.DataFrame({"name": [f"u{user}" for user in users], "country": "AT", "age": "30-44"}).write_csv(folder / "people.csv")
    follows = [{"follower": f"u{user}", "followed": f"u{(user * 7 + 1) % 18}", "since": "2025-02-07"} for user in users]
    pl.DataFrame(follows).write_csv(folder / "follows.csv")


def ratings(folder: Path) -> None:
    """Ratings of 1997: no header, tabs, seconds; one to five stars for what was rated."""
    visits = draw_visits(Service(start=datetime(1997, 9, 20, tzinfo=UTC)), seed=5)
    stars = pl.when("liked").then(5).when("completed").then(4).when("opened").then(3).when("disliked").then(1).otherwise(2)
    visits.select(pl.col("user") + 1, pl.col("post") + 1, stars.alias("stars"), pl.col("at").dt.epoch("s")).write_csv(
        folder / "ratings.data.tsv", separator="\t", include_header=False
    )
    (folder / "mapping.yaml").write_text(
        """\
events:
  files: ratings.data.tsv
  header: [user, item, stars, when]
  columns: {user_id: user, post_id: item, occurred_at: when}
  time: s
  impressions: rows
  action_columns:
    stars:
      - {action: like, at_least: 4}
      - {action: not_interested, at_most: 2}
  surface: films
"""
    )


def one_day(folder: Path) -> None:
    """All within a day, in the contract's own columns; no mapping."""
    visits = draw_visits(Service(days=0.9, start=datetime(2025, 3, 3, 1, tzinfo=UTC)), seed=6)
    plain = visits.select(
        pl.col("user").alias("user_id"),
        pl.col("post").alias("post_id"),
        pl.col("author").alias("author_id"),
        (pl.lit("r") + pl.col("visit").cast(str)).alias("request_id"),
        pl.col("at").alias("occurred_at"),
        "opened",
        "liked",
    )
    events = [
        plain.with_columns(pl.lit("impression").alias("action")),
        plain.filter("opened").with_columns(pl.lit("click").alias("action")),
        plain.filter("liked").with_columns(pl.lit("like").alias("action")),
    ]
    pl.concat(events).drop("opened", "liked").write_parquet(folder / "events.parquet")


def all_seen(folder: Path) -> None:
    """Eighty items, and everybody has seen every one; read with the mapping that `mixer data inspect` guesses."""
    visits = draw_visits(Service(users=40, posts=80, visits=40, once=True, days=5), seed=7)
    shown = visits.select(
        pl.col("at").dt.strftime("%Y-%m-%d %H:%M:%S").alias("time"),
        pl.col("user").alias("user_id"),
        pl.col("post").alias("item_id"),
        pl.col("opened").cast(int).alias("clicked"),
    )
    shown.write_csv(folder / "events.csv")
    inspect(folder).write()


def three_users(folder: Path) -> None:
    """Three users, of whom nobody could learn much."""
    visits = draw_visits(Service(users=3, posts=40, visits=10), seed=8)
    plain = visits.select(
        (pl.lit("user ") + pl.col("user").cast(str)).alias("user_id"),
        pl.col("post").alias("post_id"),
        pl.col("at").alias("occurred_at"),
        "opened",
    )
    events = [
        plain.with_columns(pl.lit("impression").alias("action")),
        plain.filter("opened").with_columns(pl.lit("click").alias("action")),
    ]
    pl.concat(events).drop("opened").write_ndjson(folder / "events.jsonl")


def _write_lines(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


SHAPES = (
    Shape("news", news),
    Shape("shop", shop),
    Shape("music", music),
    Shape("microblog", microblog),
    Shape("ratings of 1997", ratings),
    Shape("one day", one_day),
    Shape("all seen", all_seen),
    Shape("three users", three_users, drift_judged=False),
)
EXAMPLE_SHAPES = tuple(
    Shape(f"example {name}", example(name), TO_A_TIMELINE) for name in ("news", "shop", "music", "microblog")
)
