"""The headline takes whichever action the data can judge, and says so where it can judge none."""

from __future__ import annotations

from flows.training.headline import headline


def _head(auc: float | None, positives: int) -> dict:
    return {"auc": auc, "positives": positives}


def test_the_most_common_head_with_a_figure_is_named():
    one = {"click": _head(None, 0), "like": _head(0.61234, 40), "video_view": _head(0.7, 900)}
    other = {"click": _head(None, 0), "like": _head(0.6, 40), "video_view": _head(0.65, 900)}
    assert headline({"popularity": one, "heavy ranker": other}) == "video_view AUC popularity 0.7000, heavy ranker 0.6500"


def test_a_head_that_one_model_has_no_figure_for_is_not_named():
    one = {"like": _head(0.6, 40), "video_view": _head(0.7, 900)}
    assert headline({"a": one, "b": {"like": _head(0.5, 40)}}) == "like AUC a 0.6000, b 0.5000"


def test_data_that_judge_nothing_say_so():
    assert headline({}) == "not evaluated: there are no test rows"
    assert headline({"a": {"click": _head(None, 0)}}) == "no AUC: no action was both taken and left out on the rows judged"


def test_a_head_that_was_chosen_to_decide_stands_in_the_headline_where_it_has_a_figure():
    one = {"like": _head(0.6, 40), "video_view": _head(0.7, 900), "reply": _head(None, 0)}
    assert headline({"a": one}, ("like", "reply")) == "like AUC a 0.6000"
    assert headline({"a": one}, ("reply",)) == "video_view AUC a 0.7000"


def test_an_own_action_stands_in_the_headline_by_its_name():
    assert headline({"a": {"own_5": _head(0.61, 40)}}, (), {"purchase": "own_5"}) == "purchase AUC a 0.6100"
