import random
from collections import Counter

import numpy as np
import torch

from training.batches import TokenBatches, collate

LENGTHS = random.Random(5).choices(range(3, 80), k=5_003)
BUDGET = 512


def cost(batch: list[int]) -> int:
    return len(batch) * max(LENGTHS[row] for row in batch)


def test_each_row_comes_once_an_epoch_and_no_batch_is_over_the_budget() -> None:
    batches = TokenBatches(LENGTHS, BUDGET, seed=1).epoch(0)
    assert Counter(row for batch in batches for row in batch) == Counter(range(len(LENGTHS)))
    assert max(map(cost, batches)) <= BUDGET


def test_a_row_over_the_budget_is_a_batch_alone() -> None:
    batches = TokenBatches([5, 600, 5], BUDGET, seed=1).epoch(0)
    assert sorted(map(sorted, batches)) == [[0, 2], [1]]


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    first, second = TokenBatches(LENGTHS, BUDGET, seed=1), TokenBatches(LENGTHS, BUDGET, seed=1)
    second.epoch(3)
    assert first.epoch(0) == second.epoch(0)
    assert first.epoch(0) != first.epoch(1)
    assert first.epoch(0) != TokenBatches(LENGTHS, BUDGET, seed=2).epoch(0)


def test_grouping_leaves_little_padding() -> None:
    batches = TokenBatches(LENGTHS, BUDGET, seed=1).epoch(0)
    assert sum(map(cost, batches)) < 1.05 * sum(LENGTHS)
    assert sum(LENGTHS) / len(batches) > 0.9 * BUDGET, "the budget is used"


def test_no_length_comes_first_or_last() -> None:
    """The mean length of the first half of an epoch differs from the second's by chance only."""
    gaps = []
    for epoch in range(30):
        batches = TokenBatches(LENGTHS, BUDGET, seed=1).epoch(epoch)
        half = len(batches) // 2
        means = [
            np.mean([LENGTHS[row] for batch in part for row in batch]) for part in (batches[:half], batches[half:])
        ]
        gaps.append(means[0] - means[1])
    standard_error = np.std(gaps) / np.sqrt(len(gaps))
    assert abs(np.mean(gaps)) < 3 * standard_error
    assert np.mean(np.abs(gaps)) < 4


def test_rows_meet_others_in_each_epoch() -> None:
    batches = TokenBatches(LENGTHS, BUDGET, seed=1)
    together = [{frozenset(batch) for batch in batches.epoch(epoch)} for epoch in (0, 1)]
    assert len(together[0] & together[1]) < 0.01 * len(together[0])


def test_collate() -> None:
    batch = collate([[2, 9, 3], [2, 3]], pad_id=0)
    assert batch["input_ids"].tolist() == [[2, 9, 3], [2, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["input_ids"].dtype == torch.long
