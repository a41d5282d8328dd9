import random
from collections import Counter

import pytest

from data.errors import SplitError
from data.split import dev_rows


def rows(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    generator = random.Random(seed)
    texts = [f"리뷰 {generator.randrange(count * 3 // 4)}" for _ in range(count)]
    return texts, [generator.randrange(2) for _ in range(count)]


def test_no_text_is_on_both_sides() -> None:
    texts, labels = rows(2_000)
    dev = set(dev_rows(texts, labels, 0.1, seed=1))
    inside = {texts[row] for row in dev}
    assert not inside & {text for row, text in enumerate(texts) if row not in dev}


def test_it_is_stratified_and_of_the_size_asked_for() -> None:
    texts, labels = [f"리뷰 {n}" for n in range(5_000)], [int(n % 5 == 0) for n in range(5_000)]
    dev = dev_rows(texts, labels, 0.1, seed=1)
    assert Counter(labels[row] for row in dev) == {0: 400, 1: 100}


def test_contradicting_texts_are_in_dev_too() -> None:
    texts, labels = [f"리뷰 {n // 2}" for n in range(2_000)], [n % 2 for n in range(2_000)]
    assert len(dev_rows(texts, labels, 0.1, seed=1)) == 200


def test_it_depends_on_the_seed_and_not_on_the_order() -> None:
    texts, labels = [f"리뷰 {n}" for n in range(1_000)], [n % 2 for n in range(1_000)]
    first = {texts[row] for row in dev_rows(texts, labels, 0.1, seed=1)}
    order = random.Random(3).sample(range(1_000), 1_000)
    shuffled = [texts[row] for row in order]
    again = {shuffled[row] for row in dev_rows(shuffled, [labels[row] for row in order], 0.1, seed=1)}
    assert first == again
    assert first != {texts[row] for row in dev_rows(texts, labels, 0.1, seed=2)}


@pytest.mark.parametrize("fraction", [0.0, -0.1, 0.5, 1.0])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(SplitError, match=r"must be above 0 and below 0\.5"):
        dev_rows(["a"], [0], fraction, seed=1)


def test_a_fraction_that_takes_no_row() -> None:
    with pytest.raises(SplitError, match="must be larger"):
        dev_rows(["a", "b"], [0, 1], 0.1, seed=1)
