"""Batches of reviews of similar length, by token budget, and the tensors they become."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data.encode import pad

POOL_BATCHES = 50
"""So many batches' worth of rows are drawn at random, then sorted: little padding, and still a random order."""


class TokenBatches:
    """The batches of each epoch: index lists of rows of similar length, at most ``batch_tokens`` with padding.

    Each row comes once an epoch; one that is longer than the budget is a batch alone. The order depends on nothing but
    seed, epoch and lengths, so an epoch can be repeated, or taken up at any batch.
    """

    def __init__(self, lengths: Sequence[int], batch_tokens: int, seed: int) -> None:
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._batch_tokens = batch_tokens
        self._seed = seed

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._lengths)

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of epoch ``number``, in a random order, so that no length comes first or last."""
        generator = np.random.default_rng([self._seed, number])
        order = generator.permutation(len(self._lengths))
        pool_of = np.cumsum(self._lengths[order]) // (self._batch_tokens * POOL_BATCHES)
        # by pool, within a pool by length, within a length at random
        order = order[np.lexsort((self._lengths[order], pool_of))]
        batches = self._cut(order.tolist(), np.sort(pool_of).tolist())
        generator.shuffle(batches)
        return batches

    def _cut(self, order: list[int], pool_of: list[int]) -> list[list[int]]:
        lengths, batches, pool = self._lengths.tolist(), list[list[int]](), -1
        for row, its_pool in zip(order, pool_of, strict=True):
            # rows ascend in length, so the newest is what the others are padded to
            if its_pool != pool or (len(batches[-1]) + 1) * lengths[row] > self._batch_tokens:
                batches.append([])
                pool = its_pool
            batches[-1].append(row)
        return batches


def collate(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, Tensor]:
    """Token id rows as ``input_ids`` (B, T) and ``attention_mask`` (B, T)."""
    ids, mask = pad(rows, pad_id)
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
