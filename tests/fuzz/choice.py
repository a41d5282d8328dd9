"""Choice by weight, and sizes over several orders of magnitude."""

import itertools
import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Table(Generic[Thing]):
    """Functions that change a thing, each with a weight."""

    def __init__(self, weights: Mapping[Callable[[Random, Thing], Thing], int]) -> None:
        self.functions = tuple(weights)
        self._cumulated = tuple(itertools.accumulate(weights.values()))

    def change(self, rng: Random, thing: Thing) -> tuple[str, Thing]:
        """``thing`` changed by one of them, and which."""
        (function,) = rng.choices(self.functions, cum_weights=self._cumulated)
        return function.__name__, function(rng, thing)


def spread(rng: Random, least: int, most: int) -> int:
    """A number whose size, not itself, is uniform."""
    return int(math.exp(rng.uniform(math.log(least), math.log(most + 1))))
