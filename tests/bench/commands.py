"""`python -m tests.bench`: measure what the platform promises, each figure beside a peer's, in one run on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

bench = typer.Typer(
    help="Measure on this machine: stream, features of a request, heavy ranker, retrieval, training rows, materialisation, "
    "batch engine, ingestion, quality beside peers, the canary's judge.",
    no_args_is_help=True,
)

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Seed = Annotated[int, typer.Option(help="Seed of the simulated events.")]


@bench.command()
def stream(
    events: Annotated[int, typer.Option(min=10_000, help="Simulated events of each part.")] = 2_000_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long events come at an even pace.")] = 20,
    events_per_s: Annotated[float, typer.Option(min=100, help="The pace of that.")] = 20_000,
    seed: Seed = 7,
    as_json: AsJson = False,
) -> None:
    """Events a second through all families' state, broker to online store, and event to feature; the peer is Bytewax."""

    def work(folder: Path) -> dict:
        from tests.bench.stream import bench_stream

        return bench_stream(folder, events, seed, events_per_s=events_per_s, seconds=seconds)

    _run("stream", work, as_json)


@bench.command()
def features(
    candidates: Annotated[int, typer.Option(min=1, help="Candidates of a request.")] = 1_500,
    requests: Annotated[int, typer.Option(min=20, help="Requests that are timed.")] = 500,
    peer_requests: Annotated[int, typer.Option(min=1, help="Of them, requests that Feast answers too.")] = 20,
    posts: Annotated[int, typer.Option(min=1_000, help="Posts of the simulated world.")] = 20_000,
    as_json: AsJson = False,
) -> None:
    """Hydrate a request's candidates with all the ranker reads; the peer is Feast's get_online_features."""

    def work(folder: Path) -> dict:
        from tests.bench.features import bench_features

        return bench_features(folder, candidates, requests, peer_requests, posts)

    _run("features", work, as_json)


@bench.command()
def ranker(
    candidates: Annotated[int, typer.Option(min=1, help="Candidates of a request.")] = 1_500,
    rounds: Annotated[int, typer.Option(min=3, help="Requests that are timed, of each kind.")] = 40,
    posts: Annotated[int, typer.Option(min=1, help="Posts that the candidates are taken from.")] = 100_000,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a request.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Candidates a second through the heavy ranker, beside the same ranker in torch and this machine's matrix product."""

    def work(_folder: Path) -> dict:
        from infra.settings import get_settings
        from tests.bench.ranker import bench_ranker

        return bench_ranker(candidates, rounds, posts, threads, get_settings().ranker_members)

    _run("ranker", work, as_json)


@bench.command()
def index(
    posts: Annotated[list[int] | None, typer.Option(min=1_000, help="Posts of a catalogue; repeat for several.")] = None,
    queries: Annotated[int, typer.Option(min=10, help="Queries that are timed, of each index.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the simulated vectors.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Fetch the nearest 500 posts: exact products against inverted lists, and what share of the exact ones these find."""

    def work(_folder: Path) -> dict:
        from tests.bench.index import bench_index

        return bench_index(tuple(posts or (10_000, 100_000)), queries, seed)

    _run("index", work, as_json)


@bench.command()
def rows(
    batches: Annotated[int, typer.Option(min=10, help="Random batches that are gathered, of each kind.")] = 900,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch and of the batch engine.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Training rows of the ingested lake, mapped and encoded by batch; the peer is all of them in memory."""

    def work(folder: Path) -> dict:
        from infra.settings import get_settings
        from tests.bench.rows import bench_rows

        return bench_rows(get_settings(), folder, batches, threads)

    _run("rows", work, as_json)


@bench.command()
def materialize(
    rows: Annotated[int, typer.Option(min=100, help="Rows that the bulk path brings online.")] = 700_000,
    peer_rows: Annotated[int, typer.Option(min=100, help="Rows that both paths bring online.")] = 35_000,
    as_json: AsJson = False,
) -> None:
    """Bring offline rows online in bulk; the peer is Feast's own materialisation."""

    def work(folder: Path) -> dict:
        from tests.bench.materialize import bench_materialize

        return bench_materialize(folder, rows, peer_rows)

    _run("materialize", work, as_json)


@bench.command()
def batch(
    events: Annotated[int, typer.Option(min=1_000, help="Simulated events.")] = 1_000_000,
    memory_gb: Annotated[float, typer.Option(min=0.25, help="How much memory the engine may take.")] = 8.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Compute every family of the catalogue from files of events."""

    def work(folder: Path) -> dict:
        from tests.bench.batch import bench_batch

        return bench_batch(events, folder, memory_gb, threads)

    _run("batch", work, as_json)


@bench.command()
def ingest(
    events: Annotated[
        int, typer.Option(min=1_000, help="Simulated events of each format; 250 bytes of disk each, 12.5 GB for 50 million.")
    ] = 50_000_000,
    text_ids: Annotated[bool, typer.Option("--text-ids", help="A tenth as many once more, with ids that are text.")] = False,
    seed: Seed = 7,
    as_json: AsJson = False,
) -> None:
    """Ingest events of one's own from Parquet and CSV into a lake; the peer is polars scanning the same files."""

    def work(folder: Path) -> dict:
        from tests.bench.ingest import bench_ingest

        return bench_ingest(folder, events, seed, text_ids=text_ids)

    _run("ingest", work, as_json)


@bench.command()
def judge(
    rollouts: Annotated[int, typer.Option(min=2, help="Simulated rollouts of each scenario and number of users.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the first rollout; each has the next.")] = 7,
    as_json: AsJson = False,
) -> None:
    """How often the canary's judge is right, over whole rollouts; the peers are the rules of Kayenta, Argo and Flagger."""

    def work(_folder: Path) -> dict:
        from tests.bench.judge import bench_judge

        return bench_judge(rollouts, seed)

    _run("judge", work, as_json)


@bench.command()
def release(
    users: Annotated[int, typer.Option(min=100, help="People of the simulated world.")] = 1_500,
    posts: Annotated[int, typer.Option(min=100, help="Posts of the simulated world.")] = 3_000,
    per_s: Annotated[float, typer.Option(min=1, help="Pages a second of a probe, beside the world's people.")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, help="Kills of each process.")] = 1,
    part: Annotated[list[str] | None, typer.Option(help="Only this: kills, faults or controller; repeat for several.")] = None,
    seed: Seed = 7,
    as_json: AsJson = False,
) -> None:
    """Releases on live traffic: each process killed, broken releases let in, the controller killed. Starts a whole platform."""

    def work(folder: Path) -> dict:
        from tests.bench.release import PARTS, bench_release

        parts = tuple(part or PARTS)
        if unknown := sorted(set(parts) - set(PARTS)):
            raise typer.BadParameter(f"{unknown[0]!r} is no part; there are {', '.join(PARTS)}", param_hint="--part")
        return bench_release(folder, users=users, posts=posts, per_s=per_s, rounds=rounds, seed=seed, parts=parts)

    _run("release", work, as_json)


@bench.command()
def quality(
    seeds: Annotated[int, typer.Option(min=1, help="Fits of every model that draws at random.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Fit only this peer (see the roster); repeat for several.")] = None,
    again: Annotated[bool, typer.Option(help="Fit also what is kept from a run before.")] = False,
    user_share: Annotated[float, typer.Option(help="Share of the users, for a quick look.")] = 1.0,
    draws: Annotated[int, typer.Option(min=2, help="Resamplings of the users, for the intervals.")] = 500,
    folder: Annotated[Path | None, typer.Option("--out", help="Where predictions and tables are kept.")] = None,
    write_docs: Annotated[bool, typer.Option(help="Put the tables into docs/benchmarks.md too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Our rankers beside LightGBM, MaskNet, DIN, SASRec and others on KuaiRand's 4-5 May 2022. A broken run carries on."""
    from infra.settings import get_settings
    from tests.bench.quality.peer import ROOT
    from tests.bench.quality.report import markdown, write_into

    settings = get_settings()
    kept = (folder or settings.paths.reports / "quality").absolute()
    options = {"seeds": seeds, "draws": draws, "only": tuple(only or ()), "again": again, "user_share": user_share}

    def work(_folder: Path) -> dict:
        from tests.bench.quality.quality import bench_quality

        return bench_quality(settings, kept, **options)

    report = _measured("quality", work)
    for warning in report["warnings"]:
        err.print(f"[bold red]{warning}[/]", highlight=False)
    if write_docs:
        write_into(markdown(report), ROOT / "docs" / "benchmarks.md")
    typer.echo(json.dumps(report, indent=2) if as_json else markdown(report))


def _run(name: str, work: Callable[[Path], dict], as_json: bool) -> None:
    """Run a bench and print its report on stdout."""
    from tests.bench.report import tables

    report = _measured(name, work)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    for table in tables(report):
        out.print(table, highlight=False)


def _measured(name: str, work: Callable[[Path], dict]) -> dict:
    """The report of a bench that runs in a folder of its own, with its progress on stderr."""
    from flows.steps.progress import listening
    from infra.interrupts import termination_unwinds
    from infra.settings import get_settings, quiet_libraries
    from tests.bench.report import measured

    quiet_libraries()
    scratch = get_settings().paths.home / "bench"
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        termination_unwinds(),
        TemporaryDirectory(dir=scratch, prefix=f"{name}-") as folder,
        err.status(name) as status,
        # A log gets a line for each; a terminal shows the newest.
        listening(status.update if err.is_terminal else err.print),
    ):
        return measured(name, lambda: work(Path(folder)))
