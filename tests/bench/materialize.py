"""How fast the bulk path brings offline rows online; the peer is Feast's own materialisation of the same views."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import datetime
from functools import partial
from pathlib import Path
from shutil import rmtree

from feature_repo.feature_store import apply, materialise, materialise_by_feast
from feature_repo.offline_files import VIEW_NAMES
from feature_repo.online_store import PROJECT, online_file, share_between_processes
from feature_repo.view_schemas import VIEW_SCHEMAS
from flows.steps.progress import announce
from infra.settings import Settings
from tests.bench.offline_tables import END, write_offline_table

VIEWS = (*VIEW_NAMES, "user_aggregates", "user_hour_aggregates")  # every kind of value, keys of one id and of two


class StoresDiffer(AssertionError):
    """The two paths left different bytes in the online store, so that their speeds cannot be compared."""


def bench_materialize(folder: Path, rows: int = 700_000, peer_rows: int = 35_000) -> dict:
    """Materialise `rows` rows in bulk, and `peer_rows` rows by both paths, from drawn offline tables into SQLite.

    Feast writes into its own SQLite store, the bulk path into `lean_sqlite`; both files are in write-ahead mode. The rows are
    spread evenly over VIEWS; the offline tables hold three for each that goes online. Everything is written under `folder` and
    removed in the end. Feast's path is given fewer rows because it is slow: its speed does not depend on how many there are.

    Keys: rows_per_s, rows, peer (what, rows_per_s, rows), ratio, same_rows (rows_per_s of the bulk path and ratio for the
    peer's own rows, where its fixed costs weigh most), views, features_per_s (stored values), values_compared. Raises
    StoresDiffer where the paths leave different bytes.
    """
    # Everything each path imports is loaded once, on a few rows, so that neither pays for it.
    homes = {
        name: Settings(home=folder / name, online_store="sqlite")
        for name in ("first_feast", "first_bulk", "feast", "bulk", "large")
    }
    sizes = {"first_feast": 2, "first_bulk": 2, "feast": peer_rows, "bulk": peer_rows, "large": rows}
    seconds = {}
    try:
        for name, settings in homes.items():
            feasts_own = name.endswith("feast")
            _make_tables(settings, max(1, sizes[name] // len(VIEWS)), feasts_own=feasts_own)
            path = partial(materialise_by_feast, feasts_own=True) if feasts_own else materialise
            seconds[name] = _timed(path, settings, END)
            announce(f"{name}: {sizes[name]:,} rows in {seconds[name]:.2f} s")
        compared = _compared(online_file(homes["feast"]), online_file(homes["bulk"]))
    finally:
        for settings in homes.values():
            rmtree(settings.paths.home, ignore_errors=True)
    speeds = {name: sizes[name] // len(VIEWS) * len(VIEWS) / seconds[name] for name in homes}
    features = sum(len(VIEW_SCHEMAS[view].features) for view in VIEWS) / len(VIEWS)
    return {
        "rows_per_s": round(speeds["large"]),
        "rows": rows,
        "peer": {
            "what": "Feast's own materialize of the same views into its SQLite store, on fewer rows",
            "rows_per_s": round(speeds["feast"]),
            "rows": peer_rows,
        },
        "ratio": round(speeds["large"] / speeds["feast"], 1),
        "same_rows": {"rows_per_s": round(speeds["bulk"]), "ratio": round(speeds["bulk"] / speeds["feast"], 1)},
        "features_per_s": round(speeds["large"] * features),
        "views": list(VIEWS),
        "values_compared": compared,
    }


def _make_tables(settings: Settings, keys: int, *, feasts_own: bool) -> None:
    if feasts_own:  # which leaves the file in SQLite's default mode, the slower one
        settings.paths.features.mkdir(parents=True)
        share_between_processes(online_file(settings))
    apply(settings, feasts_own=feasts_own)
    for view in VIEWS:
        write_offline_table(settings.paths.features, VIEW_SCHEMAS[view], keys)


def _timed(path: Callable[[Settings, datetime], object], settings: Settings, end: datetime) -> float:
    began = time.perf_counter()
    with redirect_stdout(sys.stderr):  # Feast prints what it does
        path(settings, end)
    return time.perf_counter() - began


def _compared(first: Path, second: Path) -> int:
    """Stored values of all views that are the same in both online files; all must be."""
    same = 0
    with sqlite3.connect(first) as connection:
        connection.execute("ATTACH ? AS other", (str(second),))
        for view in VIEWS:
            table = f'"{PROJECT}_{view}"'
            for one, other in (("main", "other"), ("other", "main")):
                query = f"SELECT count(*) FROM (SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table})"
                if differing := connection.execute(query).fetchone()[0]:
                    raise StoresDiffer(f"view {view!r}: {differing} stored values of {first} and {second} are not the same")
            same += connection.execute(f"SELECT count(*) FROM main.{table}").fetchone()[0]
    connection.close()
    return same
