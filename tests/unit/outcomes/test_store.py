"""What was served is joined with what followed, each message once, whatever the order and however often it is amended."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feature_repo.heads import HEADS
from feature_repo.served_messages import ANOTHER_ANSWERED, DoorAnswer, ServedPage, decode_served, fields_of, packed
from monitoring.outcomes.answers import Event
from monitoring.outcomes.evidence import Outcomes
from monitoring.outcomes.page import engagement_weights
from monitoring.outcomes.store import Offset, OutcomeStore, Overtaken

MINUTE = 60_000_000
HOUR = 60 * MINUTE
NOON = 1_700_000_000_000_000
WAIT = 30 * MINUTE
STEP = 7  # the ledger's number
SHARE = 0.25


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'outcomes.db'}"


@pytest.fixture
def store(url) -> OutcomeStore:
    return OutcomeStore(url, engagement_weights({}), WAIT)


def page(user: int = 1, request: str = "q1", posts=(10, 11, 12), release: str = "r1", **given: object) -> ServedPage:
    values = {"assigned": release, "canary": "r2", "step": STEP, "served_at": NOON, "logged_at": NOON, "product": "for_you"}
    heads = ["click", "like"]
    told = packed(np.full((len(posts), 2), 0.5 if release == "r1" else 0.25))
    values |= {"heads": heads, "predictions": told, "authors": [1] * len(posts), "age_hours": 2.0}
    return ServedPage(request_id=request, user_id=user, release=release, posts=list(posts), **(values | given))


def act(action: str, post: int = 10, user: int = 1, request: str = "", at: int = NOON + MINUTE) -> Event:
    return Event(user, post, action, request, at)


def take(store: OutcomeStore, *messages, offsets=None, newest=None, now=NOON + MINUTE):
    pages = [one for one in messages if isinstance(one, ServedPage)]
    answers = [one for one in messages if isinstance(one, DoorAnswer)]
    events = [one for one in messages if isinstance(one, Event)]
    return store.take(pages, answers, events, offsets or {}, newest, now)


def sums(url: str, name: str) -> float:
    return float(evidence(url).pages.sums[name].sum())


def evidence(url: str):
    return Outcomes(url).evidence("r2", [(STEP, SHARE)])


def test_actions_count_for_the_page_that_they_answer(store, url):
    take(store, page(), act("click"), act("like"), act("click", post=99))
    assert (sums(url, "engagement"), sums(url, "pages"), sums(url, "posts")) == (3.0, 1.0, 3.0)
    assert sums(url, "author_share") == pytest.approx(1 / 3)


def test_an_action_told_twice_counts_once(store, url):
    take(store, page(), act("click"))
    take(store, act("click"))
    assert sums(url, "engagement") == 1.0


def test_a_later_answer_amends_what_was_counted(store, url):
    take(store, page())
    assert sums(url, "engagement") == 0.0
    take(store, act("like", at=NOON + 23 * HOUR), now=NOON + 23 * HOUR)
    assert sums(url, "engagement") == 2.0


@pytest.mark.parametrize(("action", "hours", "counts"), [("click", 5, 1.0), ("click", 7, 0.0), ("like", 25, 0.0)])
def test_each_action_has_its_window(store, url, action, hours, counts):
    take(store, page(), act(action, at=NOON + hours * HOUR))
    assert sums(url, "engagement") == counts


def test_the_request_decides_between_two_pages_with_the_post(store, url):
    first, second = page(request="q1"), page(request="q2", served_at=NOON + MINUTE, assigned="r2")
    take(store, first, second, act("click", request="q1", at=NOON + 2 * MINUTE))
    found = evidence(url).pages
    assert found.sums["engagement"][~found.treated].tolist() == [1.0]
    assert found.sums["engagement"][found.treated].tolist() == [0.0]


def test_a_client_whose_clock_is_slow_answers_the_page_that_it_names(store, url):
    take(store, page(), act("click", request="q1", at=NOON - 5 * MINUTE), act("like", at=NOON - 5 * MINUTE))
    assert sums(url, "engagement") == 1.0


def test_a_request_id_used_again_stands_for_its_newest_page(store, url):
    take(store, page(request="x", posts=(10,)), page(request="x", posts=(20,), served_at=NOON + MINUTE))
    take(store, act("click", post=20, request="x", at=NOON + 2 * MINUTE), act("click", post=10, at=NOON + 2 * MINUTE))
    assert (sums(url, "pages"), sums(url, "engagement")) == (2.0, 2.0)


def test_a_page_whose_message_comes_twice_counts_once(store, url):
    """A producer whose broker was killed sends again what that may have lost."""
    again = page(request="x", posts=(10,))
    take(store, again, act("click", post=10, request="x"))
    take(store, again, act("click", post=10, request="x"))
    assert (sums(url, "pages"), sums(url, "engagement")) == (1.0, 1.0)


def test_two_pages_of_one_request_id_whose_messages_come_twice_count_once_each(store, url):
    both = page(request="x", posts=(10,)), page(request="x", posts=(20,), served_at=NOON + MINUTE, logged_at=NOON + MINUTE)
    for _ in range(3):
        take(store, *both)
    assert sums(url, "pages") == 2.0


def test_a_trial_of_which_nothing_new_was_learned_for_long_is_forgotten_and_no_other(url):
    store = OutcomeStore(url, engagement_weights({}), WAIT, kept_us=10 * HOUR)
    take(store, page(), page(user=2, canary="r3"), now=NOON)
    take(store, page(user=3, canary="r3"), now=NOON + 9 * HOUR)
    assert Outcomes(url).changes("r2") == 1
    take(store, now=NOON + 11 * HOUR)
    assert (Outcomes(url).changes("r2"), Outcomes(url).changes("r3")) == (0, 2)
    assert evidence(url).pages.sums["pages"].tolist() == []
    assert Outcomes(url).evidence("r3", [(STEP, SHARE)]).pages.sums["pages"].sum() == 2.0


def test_displeasure_is_no_engagement(store, url):
    take(store, page(), act("not_interested"), act("block", post=11))
    assert (sums(url, "engagement"), sums(url, "disliked")) == (0.0, 2.0)


def test_both_releases_are_judged_on_the_posts_that_the_user_saw_once_labels_are_complete(store, url):
    copy = page(release="r2", shadow=True, assigned=None, canary=None, step=None)
    take(store, copy, page(), act("impression", post=10), act("impression", post=11), act("click", post=10))
    assert evidence(url).losses.rows.tolist() == []
    take(store, newest=NOON + WAIT, now=NOON + HOUR)
    losses = evidence(url).losses
    assert (losses.rows.tolist(), losses.positives["click"].tolist()) == ([2], [1])
    assert losses.live["click"][0] == pytest.approx(2 * math.log(2))
    assert losses.canary["click"][0] == pytest.approx(-math.log(0.25) - math.log(0.75))
    take(store, act("click", post=11, at=NOON + HOUR), now=NOON + HOUR)  # late, and the labels follow
    assert evidence(url).losses.positives["click"].tolist() == [2]


def test_without_impressions_what_stands_above_the_lowest_action_was_seen(store, url):
    take(store, page(), page(release="r2", shadow=True), act("click", post=11))
    take(store, newest=NOON + WAIT, now=NOON + HOUR)
    assert evidence(url).losses.rows.tolist() == [2]


def test_a_page_that_nobody_looked_at_teaches_nothing_of_predictions(store, url):
    take(store, page(), page(release="r2", shadow=True))
    take(store, newest=NOON + WAIT, now=NOON + HOUR)
    assert evidence(url).losses.rows.tolist() == []


def test_a_probability_that_is_no_number_is_left_out(store, url):
    broken = page(release="r2", shadow=True, predictions=packed(np.array([[np.nan, 0.2]] * 3)))
    take(store, page(), broken, act("click", post=12))
    take(store, newest=NOON + WAIT, now=NOON + HOUR)
    assert set(evidence(url).losses.live) == {"like"}


def test_engagement_before_the_canary_is_known_of_its_users(store, url):
    earlier = page(request="q0", served_at=NOON - 48 * HOUR, canary=None, step=None)
    take(store, earlier, act("like", request="q0", at=NOON - 47 * HOUR), page(), act("click", request="q1"))
    found = evidence(url).pages
    assert (found.sums["before"].tolist(), found.sums["engagement"].tolist()) == ([2.0], [1.0])


def answer(user: str = "ada", **given: object) -> DoorAnswer:
    values = {"path": "/for_you", "at": NOON, "status": 200, "ms": 20.0, "posts": 20, "assigned": "r2", "canary": "r2"}
    return DoorAnswer(user=user, **(values | {"step": STEP} | given))


def test_what_the_client_got_is_counted_by_the_release_that_should_have_answered(store, url):
    take(
        store,
        answer(),
        answer(status=502, release=None, posts=0, wrong="error 502"),
        answer(release="r1", wrong=ANOTHER_ANSWERED),
        answer(posts=0, wrong="an empty page"),
        answer(posts=4),
        answer(path="/score", posts=0),
        answer("bob", assigned="r1"),
    )
    found = evidence(url).requests
    ada = found.treated
    assert {name: float(values[ada].sum()) for name, values in found.sums.items()} == {
        "requests": 6.0,
        "failed": 2.0,
        "pages": 4.0,
        "empty": 1.0,
        "not_numbers": 0.0,
        "short": 2.0,
    }
    assert evidence(url).times.count.sum() == 6  # of answers; a time-out has no time of its own


def test_an_answer_that_is_no_page_is_a_failure_whatever_its_status(store, url):
    take(store, answer(status=422, posts=0), answer(status=501, posts=0), answer())
    assert evidence(url).requests.sums["failed"].sum() == 2.0


def test_of_two_releases_pages_for_one_request_the_one_that_stood_in_was_shown(store, url):
    late = page(release="r2", assigned="r2", posts=(10, 11))
    stood_in = page(release="r1", assigned="r2", posts=(10, 12, 13), logged_at=NOON + 1_000_000)
    take(store, late, stood_in)
    found = evidence(url).pages
    assert (found.sums["pages"].tolist(), found.sums["posts"].tolist()) == ([1.0], [3.0])


def test_a_request_sent_again_under_another_canary_is_another_page(store, url):
    """Else the canary's users alone would lose what they did: a replay that was broken off sends its visits again."""
    for release in ("r2", "r1"):
        user = 1 if release == "r2" else 2
        take(store, page(user, release="r1", assigned="r1", canary="r0", step=3), page(user, release=release, assigned=release))
        take(store, act("click", user=user, request="q1"))
    found = evidence(url).pages
    assert (found.sums["engagement"].tolist(), sorted(found.treated.tolist())) == ([1.0, 1.0], [False, True])


def test_a_late_page_of_the_users_own_release_changes_nothing_that_was_shown(store, url):
    take(store, page(release="r1", assigned="r2", posts=(10, 12, 13)), page(release="r2", assigned="r2", posts=(10, 11)))
    found = evidence(url).pages
    assert (found.sums["pages"].tolist(), found.sums["posts"].tolist()) == ([1.0], [3.0])


def test_another_copy_of_the_page_takes_no_prediction_away(store, url):
    copies = [page(release="r2", shadow=True), page(release="r2", shadow=True, posts=(77, 78, 79))]
    take(store, page(), *copies, act("impression", post=10), act("click", post=10), act("impression", post=11))
    take(store, newest=NOON + WAIT, now=NOON + HOUR)
    assert evidence(url).losses.rows.tolist() == [2]


def test_what_users_did_after_the_trial_began_is_no_covariate(store, url):
    later = page(request="later", served_at=NOON + 48 * HOUR, canary=None, step=None)
    take(store, page(), later, act("click", request="later", at=NOON + 49 * HOUR))
    assert evidence(url).pages.sums["before"].tolist() == [0.0]


def test_a_second_process_that_takes_in_the_same_records_is_refused(store, url):
    other = OutcomeStore(url, engagement_weights({}), WAIT)
    assert store.offsets("served") == other.offsets("served") == {}
    take(store, page(), offsets={("served", 0): Offset(1)})
    with pytest.raises(Overtaken, match="served 0: another process has taken in records up to"):
        take(other, page(), offsets={("served", 0): Offset(1)})
    assert sums(url, "pages") == 1.0
    assert other.offsets("served") == {0: Offset(1)}
    take(other, page(request="q2"), offsets={("served", 0): Offset(2)})


def test_outcomes_count_as_taken_in_only_while_nothing_waits_at_the_broker(store, url):
    store.take([], [], [], {}, now_us=NOON, fresh=False)
    assert Outcomes(url).taken_at() is None
    store.take([], [], [], {}, now_us=NOON, fresh=True)
    assert Outcomes(url).taken_at() == NOON / 1e6


def test_answers_outside_of_a_canary_are_compared_with_nothing(store, url):
    take(store, answer(canary=None, step=None))
    assert len(evidence(url).requests.user) == 0


def test_offsets_are_kept_with_what_they_stand_for_and_a_failure_keeps_neither(store, url):
    take(store, page(), offsets={("served", 0): Offset(1)})
    with pytest.raises(AttributeError):
        store.take([page(request="q2")], [None], [], {("served", 0): Offset(2)})
    assert store.offsets("served") == {0: Offset(1)}
    assert sums(url, "pages") == 1.0


def test_the_same_history_in_any_batches_gives_the_same_evidence(tmp_path):
    messages = [
        page(),
        page(release="r2", shadow=True),
        page(2, "q2", assigned="r2", release="r2"),
        act("click"),
        act("impression", post=12),
        act("like", user=2, request="q2"),
        answer(),
    ]
    found = []
    for size in (1, 2, len(messages)):
        url = f"sqlite:///{tmp_path / f'{size}.db'}"
        store = OutcomeStore(url, engagement_weights({}), WAIT)
        for start in range(0, len(messages), size):
            take(store, *messages[start : start + size])
        take(store, newest=NOON + WAIT, now=NOON + HOUR)
        one = evidence(url)
        found.append((one.pages.sums["engagement"].tolist(), one.losses.live["click"].tolist(), one.times.bin.tolist()))
    assert found[0] == found[1] == found[2]


def test_pages_are_closed_when_nothing_can_answer_them_and_their_sums_stay(store, url):
    take(store, page(), act("click"))
    assert take(store, now=NOON + 27 * HOUR).closed == 1
    assert take(store, act("like"), now=NOON + 27 * HOUR).unmatched == 1
    assert sums(url, "engagement") == 1.0


def test_a_message_whose_parts_do_not_fit_is_told_and_left_out(store):
    taken = take(store, page(predictions=packed(np.zeros((2, 2)))), page(request="q2"))
    assert taken.pages == 1
    assert "4 predictions for 3 posts and 2 actions" in taken.odd[0]


def test_messages_survive_the_way_through_json():
    for message in (page(), answer()):
        assert decode_served(__import__("orjson").dumps(fields_of(message))) == message


def test_weights_may_be_chosen_by_action_and_an_unknown_one_is_named():
    assert engagement_weights({"share": 7.0})[HEADS.index("share")] == 7.0
    with pytest.raises(ValueError, match="'clap', which is no action"):
        engagement_weights({"clap": 1.0})
