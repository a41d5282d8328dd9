import random

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from training.embeddings import WINDOW, cooccurrence_embeddings
from training.errors import ConfigError

GOOD, BAD, NEVER, ALONE = (5, 6, 7), (8, 9), 3, 4
CONTEXTS = {GOOD: range(10, 20), BAD: range(20, 30)}
VOCABULARY = 30


def corpus(count: int = 2000) -> list[list[int]]:
    """Words of one kind never meet each other, but the same neighbours."""
    generator = random.Random(1)
    rows = [[ALONE], []]
    for _ in range(count):
        words, context = generator.choice(list(CONTEXTS.items()))
        rows.append([*generator.choices(context, k=2), generator.choice(words), *generator.choices(context, k=2)])
    return rows


def test_tokens_of_the_same_neighbours_lie_near_each_other() -> None:
    found = cooccurrence_embeddings(corpus(), VOCABULARY, 8, seed=1)
    assert found.shape == (VOCABULARY, 8)
    assert found.dtype == np.float32
    likeness = found @ found.T / 8
    kinds = np.array([0] * len(GOOD) + [1] * len(BAD))
    words = likeness[np.ix_((*GOOD, *BAD), (*GOOD, *BAD))]
    same = kinds[:, None] == kinds[None, :]
    assert words[same].min() > 0.8
    assert words[~same].max() < 0.2


def test_each_has_the_same_size_and_tokens_without_neighbours_have_none() -> None:
    found = cooccurrence_embeddings(corpus(), VOCABULARY, 8, seed=1)
    size = np.sqrt((found**2).mean(axis=1))
    without = [0, 1, 2, NEVER, ALONE]
    assert size[5:] == pytest.approx(1.0, abs=1e-5)
    assert (found[without] == 0.0).all()


def test_rows_do_not_run_into_each_other_and_the_window_ends() -> None:
    far = [[1, *[0] * WINDOW, 2], [3], [4]]
    found = cooccurrence_embeddings([*far, *[[5, 6]] * 9], 7, 2, seed=1)
    assert (found[[3, 4]] == 0.0).all()
    near = cooccurrence_embeddings([[1, *[0] * (WINDOW - 1), 2], *[[5, 6]] * 9], 7, 2, seed=1)
    assert not np.allclose(near[1], found[1])


def test_the_same_every_time_on_any_number_of_threads() -> None:
    rows = corpus()
    whole = cooccurrence_embeddings(rows, VOCABULARY, 8, seed=1)
    with threadpool_limits(1):
        alone = cooccurrence_embeddings(rows, VOCABULARY, 8, seed=1)
    assert (whole == alone).all()


def test_more_dimensions_than_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"architecture\.embedding is 31; it must be at most the 30 tokens there are"):
        cooccurrence_embeddings(corpus(), VOCABULARY, 31, seed=1)
