"""Which rows and exposures a sequence has."""

import numpy as np

from flows.training.user_sequences import UserSequences
from services.ranking.inputs import TableBits
from tests.timelines import timelines


def test_rows_of_one_moment_do_not_see_one_another():
    rows = timelines(1, 3, 2)
    order = np.argsort(rows.occurred_at)
    same = rows.take(np.r_[order[:2], order[1]])
    sequences = UserSequences.of(same, np.arange(3), TableBits())
    assert sequences.end.tolist() == [2, 3, 3]


def test_no_row_reads_an_exposure_of_another_user():
    rows = timelines(5, 4, 3)
    sequences = UserSequences.of(rows, np.arange(len(rows)), TableBits())
    batch = sequences.batch(np.arange(len(sequences)))
    assert not (batch.seen & batch.tokens.padding.unsqueeze(1)).any()
    assert batch.seen.sum(dim=2)[batch.there].tolist() == sequences.end.tolist()
