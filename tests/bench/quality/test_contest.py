"""A broken contest carries on, other data or code is never taken for the same, and a peer that cannot run says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.bench.quality.contest import contest
from tests.bench.quality.measured_heads import MEASURED
from tests.bench.quality.peer import ROOT, NotRun, Peer
from tests.bench.quality.quality_rows_of import small_rows


class Counting:
    """A peer's fit that counts its calls, and breaks on one seed if asked to."""

    def __init__(self, breaks_on: int | None = None) -> None:
        self.seeds: list[int] = []
        self.breaks_on = breaks_on

    def __call__(self, train, seed, threads, folder):
        self.seeds.append(seed)
        if seed == self.breaks_on:
            raise KeyboardInterrupt
        return {"counted": lambda rows: np.full((len(rows), len(MEASURED)), seed / 10, np.float32)}


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source.py"
    file.write_text("one")
    return file


@pytest.fixture
def rows():
    return small_rows(200, 60)


def peer_of(fit, source, **changes) -> Peer:
    return replace(Peer("counted", ("counted",), fit, (str(source),)), **changes)


def run(rows, peer, folder, **options):
    return contest(rows, [peer], folder, seeds=(1, 2, 3), threads=1, **options)


def test_a_broken_run_carries_on_with_the_seeds_that_are_missing(rows, source, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.bench.quality.peer.ROOT", tmp_path)
    fit = Counting(breaks_on=3)
    with pytest.raises(KeyboardInterrupt):
        run(rows, peer_of(fit, source), tmp_path)
    fit.breaks_on = None
    outcome = run(rows, peer_of(fit, source), tmp_path)
    assert fit.seeds == [1, 2, 3, 3]
    assert [one.live[0, 0] for one in outcome.predicted["counted"]] == pytest.approx([0.1, 0.2, 0.3])


def test_other_rows_code_or_options_are_fitted_anew_and_so_is_what_is_asked_again(rows, source, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.bench.quality.peer.ROOT", tmp_path)
    fit = Counting()
    run(rows, peer_of(fit, source), tmp_path)
    run(rows, peer_of(fit, source), tmp_path)
    assert len(fit.seeds) == 3
    run(rows, peer_of(fit, source), tmp_path, again=True)
    assert len(fit.seeds) == 6
    run(rows, peer_of(fit, source, options={"share": 1}), tmp_path)
    assert len(fit.seeds) == 9
    run(small_rows(200, 60, seed=1), peer_of(fit, source), tmp_path)
    assert len(fit.seeds) == 12
    source.write_text("two")
    run(rows, peer_of(fit, source), tmp_path)
    assert len(fit.seeds) == 15


def test_what_draws_nothing_is_fitted_once(rows, source, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.bench.quality.peer.ROOT", tmp_path)
    fit = Counting()
    assert len(run(rows, peer_of(fit, source, seeded=False), tmp_path).predicted["counted"]) == 1
    assert fit.seeds == [1]


def test_a_peer_that_cannot_run_or_was_not_asked_is_named_with_the_reason(rows, source, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.bench.quality.peer.ROOT", tmp_path)

    def refuses(train, seed, threads, folder):
        raise NotRun("no such package")

    assert run(rows, peer_of(refuses, source), tmp_path).not_run == {"counted": "no such package"}
    other = replace(peer_of(Counting(), source), key="other", names=("other",))
    outcome = contest(rows, [peer_of(Counting(), source), other], tmp_path, seeds=(1,), threads=1, only=("counted",))
    assert set(outcome.predicted) == {"counted"} and "--only" in outcome.not_run["other"]
    with pytest.raises(ValueError, match="no peer nobody; choose of counted"):
        run(rows, peer_of(Counting(), source), tmp_path, only=("nobody",))


def test_every_source_of_the_roster_exists():
    from infra.settings import Settings
    from tests.bench.quality.roster import roster

    for peer in roster(Settings()):
        assert [source for source in peer.sources if not (ROOT / source).exists()] == []
        assert len(peer.code) == 12
