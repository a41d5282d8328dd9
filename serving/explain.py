"""What each word adds to an answer: shares of the log odds of positive, which add up to the answer's.

A share is the mean of what a word does to all the others and what it does alone, moved by the same amount for all words
so that they add up. That is the Shapley value which KernelSHAP (Lundberg and Lee, 2017, "A Unified Approach to
Interpreting Model Predictions") estimates from texts without one word and of one word; up to three words it is exact.
What it is worth beside leaving words out alone: docs/results/attribution.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from data.text import clean
from serving.cache import ASK_AND_KEEP, Reuse
from serving.sentiment import Answer

LIMIT = 64
"""Words that get a share of their own; of a longer text, as many spans of neighbours do."""
NEUTRAL_LOG_ODDS = 0.0
"""Of a text without any word, which no model is asked about: P(positive) is 0.5."""
_SMALLEST = 1e-12
"""P(positive) and its complement are taken to be at least this, which keeps log odds finite."""


class Judge(Protocol):
    """What answers for texts; ``serving.sentiment.Sentiment`` does."""

    async def analyze(
        self, texts: Sequence[str], *, truncate: bool = False, reuse: Reuse = ASK_AND_KEEP, counted: bool = True
    ) -> list[Answer]:
        """An answer for each text, in order."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a cleaned text, or a span of neighbours, and its share of the log odds of positive."""

    text: str
    weight: float


def words(cleaned: str, limit: int = LIMIT) -> list[str]:
    """Words of a cleaned text, in order; more than ``limit`` become so many spans, alike in size to one word."""
    parts = cleaned.split()
    if len(parts) <= limit:
        return parts
    edges = [len(parts) * number // limit for number in range(limit + 1)]
    return [" ".join(parts[start:end]) for start, end in pairwise(edges)]


def without_each(parts: Sequence[str]) -> list[str]:
    """The text without its first part, without its second, and so on."""
    return [" ".join((*parts[:place], *parts[place + 1 :])) for place in range(len(parts))]


def log_odds(positive: float) -> float:
    """Of P(positive), in [0, 1]; finite at its ends, too."""
    return math.log(max(positive, _SMALLEST)) - math.log(max(1.0 - positive, _SMALLEST))


def shares(whole: float, rests: Sequence[float], alone: Sequence[float]) -> list[float]:
    """Weights of words that add up, from log odds of the text, of it without each word, and of each word alone."""
    means = [(whole - rest + each - NEUTRAL_LOG_ODDS) / 2 for rest, each in zip(rests, alone, strict=True)]
    missing = whole - NEUTRAL_LOG_ODDS - sum(means)
    return [mean + missing / len(means) for mean in means]


async def explain(judge: Judge, cleaned: str, positive: float, reuse: Reuse = ASK_AND_KEEP) -> tuple[Word, ...]:
    """Words of ``cleaned``, whose P(positive) is ``positive``, in order, with the weight of each.

    Costs two answers a word, at most 2 * LIMIT. Raises what the judge raises.
    """
    parts = words(cleaned)
    asked = list(dict.fromkeys(text for text in (*without_each(parts), *parts) if clean(text) and text != cleaned))
    fragments = Reuse(ask=reuse.ask, keep=False)  # nobody will send them, so they are not worth a place in a cache
    answers = await judge.analyze(asked, truncate=True, reuse=fragments, counted=False) if asked else []
    known = {text: log_odds(answer.verdict.positive) for text, answer in zip(asked, answers, strict=True)}
    known[cleaned] = log_odds(positive)
    rests = [known.get(text, NEUTRAL_LOG_ODDS) for text in without_each(parts)]
    alone = [known.get(text, NEUTRAL_LOG_ODDS) for text in parts]
    return tuple(map(Word, parts, shares(known[cleaned], rests, alone)))
