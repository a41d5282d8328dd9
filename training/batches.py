"""Batches of reviews of similar length, and the tensors they become."""

import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from data.encode import pad

POOL_BATCHES = 50
"""So many batches are drawn at random, then sorted by length: little padding, and still a random order."""


class LengthGroupedBatches:
    """Index lists of at most ``batch_size`` rows of similar length; each row once an epoch.

    The order depends on nothing but seed, epoch and lengths, so that an epoch can be repeated or resumed.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self.drop_last = False
        self.epoch = 0
        self._lengths = lengths
        self._seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = random.Random(f"{self._seed}-{self.epoch}")
        order = list(range(len(self._lengths)))
        generator.shuffle(order)
        pool = self.batch_size * POOL_BATCHES
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            members = sorted(order[start : start + pool], key=self._lengths.__getitem__)
            batches += [members[at : at + self.batch_size] for at in range(0, len(members), self.batch_size)]
        generator.shuffle(batches)
        yield from batches


def collate(rows: Sequence[tuple[Sequence[int], int]], pad_id: int) -> dict[str, Tensor]:
    """Pairs of token ids and label as ``input_ids`` (B, T), ``attention_mask`` (B, T) and ``labels`` (B,)."""
    ids, mask = pad([row for row, _ in rows], pad_id)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.tensor([label for _, label in rows], dtype=torch.long),
    }
