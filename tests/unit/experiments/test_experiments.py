"""Who is in an experiment, what it turns, and that no user is in two of a layer."""

from __future__ import annotations

import threading
from io import StringIO

import pytest
from rich.console import Console

from feature_repo.heads import HEADS
from feature_repo.served_messages import DoorAnswer, ServedPage
from flows.cli.experiment import show
from infra.settings import Settings
from monitoring.outcomes.answers import Event
from monitoring.outcomes.evidence import Outcomes
from monitoring.outcomes.page import engagement_weights
from monitoring.outcomes.store import OutcomeStore
from services.experiments import store
from services.experiments.assignment import CONTROL, TREATMENT, arms_of
from services.experiments.store import ExperimentError, Experiments
from services.mixer.knobs import KnobError, knobs_of
from services.ranking.weights import preset_named

USERS = range(4_000)
NOON = 1_700_000_000_000_000
DAY = 86_400_000_000


@pytest.fixture
def experiments(tmp_path) -> Experiments:
    return Experiments(f"sqlite:///{tmp_path / 'platform.db'}")


def start(experiments: Experiments, name: str, share: float = 0.4, layer: str = "ranking", **knobs: object):
    return experiments.start(name, layer, share, knobs or {"author_decay": 0.8}, actor="Ada", why="to see")


def test_a_share_of_the_users_is_in_it_half_of_them_treated_and_always_the_same(experiments):
    one = start(experiments, "milder")
    arms = [one.arm(user) for user in USERS]
    assert sum(arm is not None for arm in arms) == pytest.approx(0.4 * len(USERS), rel=0.1)
    assert arms.count(TREATMENT) == pytest.approx(arms.count(CONTROL), rel=0.15)
    assert [one.arm(str(user)) for user in USERS] == arms


def test_no_user_is_in_two_experiments_of_a_layer_and_layers_are_independent(experiments):
    first, second, other = start(experiments, "a"), start(experiments, "b"), start(experiments, "c", layer="depth", ranked=100)
    both = [user for user in USERS if first.arm(user) and second.arm(user)]
    assert both == []
    across = [user for user in USERS if first.arm(user) and other.arm(user)]
    assert len(across) == pytest.approx(0.16 * len(USERS), rel=0.2)
    assert set(arms_of(across[0], experiments.running())) == {"a", "c"}


def test_a_full_layer_takes_no_more_until_one_is_stopped(experiments):
    start(experiments, "a", 0.6)
    with pytest.raises(ExperimentError, match="no room for 50% of the users: a 60%"):
        start(experiments, "b", 0.5)
    experiments.stop("a", actor="Ada", why="seen enough")
    assert start(experiments, "b", 0.5).first == 0
    assert [one.name for one in experiments.running()] == ["b"]


def test_what_was_stopped_is_not_read_when_those_that_run_are_asked_for(experiments, monkeypatch):
    start(experiments, "a")
    experiments.stop("a", actor="Ada", why="seen enough")
    start(experiments, "b")
    read = []
    monkeypatch.setattr(store, "_experiment", lambda row: read.append(row["name"]))
    experiments.running()
    assert read == ["b"]


def test_of_two_who_stop_one_at_once_the_second_is_told_of_the_first(experiments, monkeypatch):
    start(experiments, "a")
    refused, now = [], store._now
    other = threading.Thread(target=lambda: refused.append(refusal(experiments, "a", "Bo")))

    def interrupted() -> str:
        if other.ident is None:
            other.start()
            other.join(0.2)
        return now()

    monkeypatch.setattr(store, "_now", interrupted)
    experiments.stop("a", actor="Ada", why="seen enough")
    other.join()
    assert experiments.of("a").stopped_by == "Ada"
    assert "by Ada" in refused[0]


def refusal(experiments: Experiments, name: str, actor: str) -> str:
    """Why `actor` may not stop the experiment; empty where that is no matter."""
    try:
        experiments.stop(name, actor=actor, why="seen enough")
    except ExperimentError as error:
        return str(error)
    return ""


def test_a_stopped_experiment_leaves_nobody_in_it_and_its_room_is_found_between_others(experiments):
    for name in ("a", "b", "c"):
        start(experiments, name, 0.3)
    experiments.stop("b", actor="Ada", why="seen enough")
    assert start(experiments, "d", 0.25).first == 3_000
    with pytest.raises(ExperimentError, match="was stopped"):
        experiments.stop("b", actor="Ada", why="again")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "A b"}, "name 'A b': use 1-48"),
        ({"share": 1.5}, "share 1.5: give a share"),
        ({"share": float("nan")}, "share nan"),
        ({"knobs": {}}, "nothing to try"),
        ({"why": " "}, "who starts it and why"),
    ],
)
def test_what_can_not_run_is_refused_by_name(experiments, change, said):
    values = {"name": "a", "layer": "ranking", "share": 0.5, "knobs": {"ranked": 100}, "actor": "Ada", "why": "to see"}
    with pytest.raises(ExperimentError, match=said):
        experiments.start(**(values | change))


def test_two_layers_never_turn_the_same_knob(experiments):
    start(experiments, "a", author_decay=0.9)
    with pytest.raises(ExperimentError, match="experiment 'a' of layer 'ranking' turns author_decay already"):
        start(experiments, "b", layer="other", author_decay=0.1)
    start(experiments, "c", layer="other", weights="clicks_only")
    with pytest.raises(ExperimentError, match="turns head_weights, weights already"):
        start(experiments, "d", head_weights={"click": 2.0})


def test_a_name_is_used_once(experiments):
    start(experiments, "a")
    experiments.stop("a", actor="Ada", why="done")
    with pytest.raises(ExperimentError, match="there was an experiment 'a' already"):
        start(experiments, "a")


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"decay": 0.5}, "decay: Extra inputs"),
        ({"author_decay": 2}, "author_decay: Input should be less than or equal to 1"),
        ({"weights": "lovely"}, "there is no weight preset 'lovely'"),
        ({"head_weights": {"click": 900.0}}, "click = 900.0 is outside"),
        ({"head_weights": {"clap": 1.0}}, "no head 'clap'"),
        ({"head_weights": dict.fromkeys(HEADS, 0.0)}, "weigh nothing"),
        ({"ranked": 1}, "ranked: Input should be greater than or equal to 20"),
    ],
)
def test_a_knob_beyond_its_bounds_is_refused_before_anybody_meets_it(experiments, knobs, said):
    with pytest.raises(KnobError, match=said):
        start(experiments, "a", **knobs)
    assert experiments.all() == []


def test_a_requests_own_weights_go_before_an_experiments_and_those_before_the_releases():
    turned = knobs_of({"weights": "clicks_only"})
    assert turned.preset(None, "balanced") == preset_named("clicks_only")
    assert turned.preset("balanced", "balanced") == preset_named("balanced")
    assert knobs_of({}).preset(None, "balanced") == preset_named("balanced")
    assert knobs_of({"head_weights": {"click": 2.0}}).preset(None, "balanced").weights["click"] == 2.0


def test_outcomes_are_kept_by_arm_beside_those_of_a_canary(tmp_path):
    url = f"sqlite:///{tmp_path / 'outcomes.db'}"
    store = OutcomeStore(url, engagement_weights({}), 0)

    def page(user: int, request: str, at: int, experiments: dict[str, str]) -> ServedPage:
        split = {"assigned": "r1", "canary": "r2", "step": 3}
        return ServedPage(request, user, "for_you", "r1", at, [10], [1], logged_at=at, experiments=experiments, **split)

    pages = [page(1, "old", NOON - DAY, {}), page(1, "new", NOON, {"a": TREATMENT}), page(2, "other", NOON, {"a": CONTROL})]
    clicks = [Event(1, 10, "click", "old", NOON - DAY), Event(1, 10, "like", "new", NOON), Event(2, 10, "click", "", NOON)]
    store.take(pages, [], clicks, {}, now_us=NOON)
    found = Outcomes(url).evidence("x:a", [(0, 0.5)]).pages
    assert dict(zip(found.treated.tolist(), found.sums["engagement"].tolist(), strict=True)) == {True: 2.0, False: 1.0}
    assert dict(zip(found.treated.tolist(), found.sums["before"].tolist(), strict=True)) == {True: 1.0, False: 0.0}
    assert Outcomes(url).evidence("r2", [(3, 0.5)]).pages.sums["engagement"].sum() == 4.0


def test_what_is_unknown_says_how_much_is_needed(tmp_path, monkeypatch):
    settings, out = Settings(home=tmp_path), Console(width=300, file=StringIO())
    monkeypatch.setattr("flows.cli.experiment.get_settings", lambda: settings)
    monkeypatch.setattr("flows.cli.experiment.out", out)
    start(Experiments(settings.platform_database_url), "a")
    store = OutcomeStore(settings.outcomes_url, engagement_weights({}), 0)
    arms = dict(zip(range(4), (CONTROL, TREATMENT) * 2, strict=True))
    asked = {"path": "/for_you", "status": 200, "ms": 20.0, "posts": 10, "asked": 10, "assigned": "r1", "release": "r1"}
    answers = [DoorAnswer(user=str(user), at=NOON, experiments={"a": arm}, **asked) for user, arm in arms.items()]
    store.take([], answers, [], {}, now_us=NOON)
    show("a")
    assert "too few answers for a p95 yet: 2 and 2 in the two arms, at least 77 are needed in each" in out.file.getvalue()
