"""Members of the heavy ranker: side by side and in turn they come to the same, killed ones carry on, a failure is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flows.training import fit_members as members_module
from flows.training.checkpoints import Checkpoints
from flows.training.fit import train_bundle
from flows.training.fit_members import MemberFailed, fit_members, member_name
from flows.training.learned_rows import LearnedRows
from flows.training.recipe import Recipe
from services.ranking.bundle import ModelBundle
from services.ranking.members import members_of
from tests.forked_commands import fork_commands
from tests.short_training import keep_checkpoints_often
from tests.synthetic_rows import synthetic_rows

pytestmark = pytest.mark.slow
ROWS = 500  # two epochs of them are twice as many steps as there are between these checkpoints


class Killed(Exception):
    """What a test stops a training with."""


@pytest.fixture
def forked_members(monkeypatch) -> None:
    """Members' processes are forked, which saves them their imports, and have checkpoints early."""
    fork_commands(monkeypatch, members_module, keep_checkpoints_often)


@pytest.fixture(scope="module")
def learned() -> LearnedRows:
    return LearnedRows.of(synthetic_rows(ROWS, seed=1), 7)


@pytest.fixture(scope="module")
def targets(learned) -> np.ndarray:
    return learned.rows.labels[learned.fitted.chosen].astype(np.float32)


@pytest.fixture(scope="module")
def in_turn(learned, targets, tmp_path_factory):
    return fit_members(learned, targets, Recipe(7, 1, members=2), tmp_path_factory.mktemp("in_turn") / "checkpoints")


def _states(heavy) -> list[dict[str, torch.Tensor]]:
    return [member.state_dict() for member in members_of(heavy)]


def _same(one, other) -> None:
    for mine, theirs in zip(_states(one), _states(other), strict=True):
        for name, tensor in mine.items():
            assert torch.equal(tensor, theirs[name]), name


def test_side_by_side_they_come_to_the_weights_and_losses_of_in_turn(learned, targets, in_turn, tmp_path, forked_members):
    told: list[str] = []
    checkpoints = tmp_path / "checkpoints"
    heavy, trainings = fit_members(learned, targets, Recipe(7, 2, members=2), checkpoints, lambda name, *_: told.append(name))
    _same(heavy, in_turn[0])
    assert {name: one.curve for name, one in trainings.items()} == {name: one.curve for name, one in in_turn[1].items()}
    assert set(told) == {member_name(0), member_name(1)}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]  # no scratch folder is left


def test_members_are_no_copies_of_each_other(in_turn):
    first, second = _states(in_turn[0])
    assert not torch.equal(first["output.weight"], second["output.weight"])
    assert in_turn[1]["heavy"].curve != in_turn[1]["heavy_2"].curve


def test_stopped_side_by_side_they_carry_on_to_the_same_weights(learned, targets, in_turn, tmp_path, forked_members):
    checkpoints = tmp_path / "checkpoints"

    def stop(name: str, share: float, loss: float) -> None:
        if share > 0.85:  # after the first checkpoint
            raise Killed

    with pytest.raises(Killed):
        fit_members(learned, targets, Recipe(7, 2, members=2), checkpoints, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    heavy, trainings = fit_members(learned, targets, Recipe(7, 2, members=2), checkpoints)
    _same(heavy, in_turn[0])
    assert all(len(one.curve) == len(in_turn[1][name].curve) for name, one in trainings.items())


def test_a_member_that_fails_is_named_with_what_it_said(learned, targets, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    folder = checkpoints / member_name(1)
    folder.mkdir(parents=True)
    Checkpoints(folder, "another training").save({"steps": torch.tensor(1)})
    (folder / "newest.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(MemberFailed, match=r"heavy_2 ended with 1(.|\n)*newest.safetensors(.|\n)*carry on"):
        fit_members(learned, targets, Recipe(7, 2, members=2), checkpoints)


def test_a_bundle_has_as_many_members_as_were_asked_for(tmp_path, forked_members):
    report = train_bundle(synthetic_rows(600, seed=3), None, tmp_path / "bundle", seed=7, threads=2, members=3)
    bundle = ModelBundle.load(report.folder)
    assert len(members_of(bundle.heavy)) == 3
    assert set(report.losses) == {"two_tower", "heavy", "heavy_2", "heavy_3"}
    assert not (report.folder / "checkpoints").exists()


def test_no_members_are_refused():
    with pytest.raises(ValueError, match="0 members"):
        Recipe(7, 1, members=0)
