"""What the load generator asks: NSMC's test reviews as long as they are, in sequences that caches like or not."""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data import nsmc
from data.text import clean

SEED = 42
COLD, HALF, HITS, ONE = "cold", "half", "hits", "one"
HIT_TEXTS = 512
"""So many different texts have the hits; the service remembers 1,000."""
NEAREST, FARTHEST = 100, 500
"""So many texts before, a repeated one was asked for the first time: it was answered, and is still remembered."""


def cleaned(file: Path) -> list[str]:
    """The cleaned reviews of one of NSMC's files, each once and none empty, in no order."""
    texts = list(dict.fromkeys(text for review in nsmc.read(file) if (text := clean(review.text))))
    random.Random(SEED).shuffle(texts)
    return texts


def sequence(kind: str, texts: Sequence[str], mark: str) -> Iterator[str]:
    """Texts without an end. Each is a review with ``mark`` behind, so that no other sequence has the same.

    All different (``cold``), every second one said shortly before (``half``), few again and again (``hits``), or one
    and the same (``one``).
    """
    if kind == HITS:
        return itertools.cycle([f"{text} {mark}" for text in texts[:HIT_TEXTS]])
    if kind == ONE:
        return itertools.repeat(f"{texts[0]} {mark}")
    different = _different(texts, mark)
    return _repeating(different) if kind == HALF else different


def _different(texts: Sequence[str], mark: str) -> Iterator[str]:
    for lap in itertools.count():
        behind = f"{mark} {lap}" if lap else mark
        for text in texts:
            yield f"{text} {behind}"


def _repeating(different: Iterator[str]) -> Iterator[str]:
    chance = random.Random(SEED)
    said: list[str] = []
    for text in different:
        said.append(text)
        yield text
        if len(said) > NEAREST:
            yield said[-chance.randint(NEAREST, min(FARTHEST, len(said)))]
