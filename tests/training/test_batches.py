import random
from collections import Counter

import torch

from training.batches import LengthGroupedBatches, collate

LENGTHS = random.Random(5).choices(range(3, 80), k=1_003)


def test_each_row_comes_once_an_epoch() -> None:
    batches = LengthGroupedBatches(LENGTHS, 16, seed=1)
    counts = Counter(row for batch in batches for row in batch)
    assert counts == Counter(range(len(LENGTHS)))
    assert max(len(batch) for batch in batches) == 16


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    first, second = LengthGroupedBatches(LENGTHS, 16, seed=1), LengthGroupedBatches(LENGTHS, 16, seed=1)
    assert list(first) == list(second)
    second.set_epoch(1)
    assert list(first) != list(second)
    assert list(first) != list(LengthGroupedBatches(LENGTHS, 16, seed=2))


def test_grouping_saves_most_of_the_padding() -> None:
    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches)

    order = random.Random(2).sample(range(len(LENGTHS)), len(LENGTHS))
    at_random = padded([order[at : at + 16] for at in range(0, len(order), 16)])
    grouped = padded(list(LengthGroupedBatches(LENGTHS, 16, seed=1)))
    assert grouped - sum(LENGTHS) < 0.2 * (at_random - sum(LENGTHS))


def test_collate() -> None:
    batch = collate([([2, 9, 3], 1), ([2, 3], 0)], pad_id=0)
    assert batch["input_ids"].tolist() == [[2, 9, 3], [2, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["input_ids"].dtype == torch.long
