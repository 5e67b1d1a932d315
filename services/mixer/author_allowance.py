"""How many posts of one author a page may hold, given the candidates there are."""

from __future__ import annotations

import math

import numpy as np

LEAST = 3  # posts of one author that any page may hold


def author_allowance(author_id: np.ndarray, count: int, share: float) -> int:
    """max(3, a `share` of the page of `count` posts), or as many more as it takes to fill the page.

    `author_id` int64 (n,) of all candidates. Where one author wrote all of them, that author may fill the page.
    """
    usual = max(LEAST, math.ceil(share * count))
    posts = np.unique(author_id, return_counts=True)[1]
    wanted = min(count, len(author_id))
    if np.minimum(posts, usual).sum() >= wanted:
        return usual
    allowances = np.arange(usual, posts.max() + 1)
    filled = np.minimum(posts[None, :], allowances[:, None]).sum(axis=1)
    return int(allowances[np.argmax(filled >= wanted)])
