"""How faithful the weights of words are. ``python -m benchmarks.attribution [--bundle FOLDER] [--nsmc FOLDER]``.

Deletion (Petsiuk et al., 2018, "RISE"; Samek et al., 2017): words are removed one after the other, first the one that
speaks most for the predicted class, and P(predicted class) is averaged over the share that is removed, from none to
all. The sooner an order destroys the answer, the smaller that area. What the service shows is compared with other ways
to weigh words that cost at most two inferences a word, with random order and with its own order reversed, on the same
reviews of two words or more. Where reviews are short enough for every combination of their words to be judged, the
second table compares with exact Shapley values. Of a text without words P is 0.5. Prints Markdown; intervals are
bootstraps over reviews.
"""

import argparse
import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.machine import described
from benchmarks.subjects import nsmc_folder
from data import nsmc
from data.text import clean
from pipelines import artifacts
from serving.cache import ASK_AND_KEEP, Reuse
from serving.explain import NEUTRAL_LOG_ODDS, explain, log_odds, words
from serving.model import Model
from serving.sentiment import Answer

SEED = 42
RANDOM_ORDERS = 10
RESAMPLES = 10_000
FEWEST_WORDS = 2
EXACT_WORDS = range(4, 9)
"""So many can be judged in all combinations; with fewer, what is shown is exact."""
CLEAR = 0.3
"""Log odds of a word whose side matters."""
SHOWN = "shown: mean of both, adding up"
PLAIN = "leave one out"

Order = list[int]
"""Places of words, in which they are removed."""


class Remembering:
    """A model as ``serving.explain.Judge``; each text is inferred once."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[str, float] = {}

    async def analyze(
        self, texts: Sequence[str], *, truncate: bool = False, reuse: Reuse = ASK_AND_KEEP, counted: bool = True
    ) -> list[Answer]:
        """See ``serving.explain.Judge.analyze``; texts are always cut where the model's length ends."""
        return [Answer(self._model.verdict(positive), cached=False) for positive in self.positive(texts)]

    def positive(self, texts: Sequence[str]) -> list[float]:
        """P(positive) of clean texts; 0.5 where nothing is left."""
        fresh = sorted({clean(text) for text in texts} - self._known.keys() - {""}, key=len)
        if fresh:
            self._known |= dict(zip(fresh, self._model.positive_of(fresh).tolist(), strict=True))
        return [self._known.get(clean(text), 0.5) for text in texts]


@dataclass(frozen=True, slots=True)
class Review:
    """Words of a review, and who judges what is left of them."""

    words: list[str]
    judge: Remembering

    def positive(self, kept: Sequence[Sequence[int]]) -> list[float]:
        """P(positive) of the words in each of several lists of places."""
        return self.judge.positive([" ".join(self.words[place] for place in places) for places in kept])

    def log_odds(self, kept: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        """The same as log odds."""
        return np.array([log_odds(positive) for positive in self.positive(kept)])

    @property
    def places(self) -> range:
        """Of the words."""
        return range(len(self.words))

    def without(self, *removed: int) -> list[int]:
        """All places but these."""
        return [place for place in self.places if place not in removed]


Weights = npt.NDArray[np.float64]
Weigh = Callable[[Review], Weights]


def shown(review: Review) -> Weights:
    """As the service does it."""
    text = " ".join(review.words)
    weighed = asyncio.run(explain(review.judge, text, review.judge.positive([text])[0]))
    return np.array([word.weight for word in weighed])


def leave_one_out(review: Review) -> Weights:
    """What a word adds to all others."""
    (whole,) = review.log_odds([list(review.places)])
    return np.array(whole - review.log_odds([review.without(place) for place in review.places]))


def alone(review: Review) -> Weights:
    """What a word adds to none."""
    return review.log_odds([[place] for place in review.places]) - NEUTRAL_LOG_ODDS


def both(review: Review) -> Weights:
    """Mean of the two."""
    return (leave_one_out(review) + alone(review)) / 2


def ends(review: Review) -> Weights:
    """Mean of what a word adds to those before it and to those after it: a Shapley value of two orders."""
    before = review.log_odds([list(range(end)) for end in range(len(review.words) + 1)])
    after = review.log_odds([list(review.places[start:]) for start in range(len(review.words) + 1)])
    return (np.diff(before) - np.diff(after)) / 2


def neighbours(review: Review) -> Weights:
    """Mean of what a word adds to all others, and to them without its left or right neighbour."""
    pairs = list(pairwise(review.places))
    (whole,) = review.log_odds([list(review.places)])
    single = review.log_odds([review.without(place) for place in review.places])
    double = review.log_odds([review.without(*pair) for pair in pairs])
    gains = [[whole - each] for each in single]
    for (left, right), neither in zip(pairs, double, strict=True):
        gains[left].append(single[right] - neither)
        gains[right].append(single[left] - neither)
    return np.array([np.mean(each) for each in gains])


def shapley(review: Review) -> Weights:
    """What a word adds to the others, exactly: the mean over all orders of words (Shapley, 1953)."""
    count = len(review.words)
    value = review.log_odds([[place for place in review.places if kept >> place & 1] for kept in range(1 << count)])
    weights = np.zeros(count)
    for kept in range(1 << count):
        size = kept.bit_count()
        orders = math.factorial(size) * math.factorial(count - size - 1) if size < count else 0
        for place in review.places:
            if not kept >> place & 1:
                weights[place] += orders * (value[kept | 1 << place] - value[kept])
    return weights / math.factorial(count)


WAYS: dict[str, tuple[str, Weigh]] = {
    SHOWN: ("2", shown),
    PLAIN: ("1", leave_one_out),
    "alone": ("1", alone),
    "mean of both": ("2", both),
    "from both ends": ("2", ends),
    "with neighbours": ("2", neighbours),
}
"""Inferences a word, and how to weigh, by name."""


def area(review: Review, order: Order) -> float:
    """Under P(predicted class) against the share of words removed, by trapezoids."""
    kept = [sorted(order[count:]) for count in range(len(order) + 1)]
    curve = np.array(review.positive(kept))
    if curve[0] < 0.5:
        curve = 1.0 - curve
    return float(np.trapezoid(curve, dx=1.0 / len(order)))


def areas(review: Review, rng: random.Random) -> dict[str, float]:
    """By the name of the order."""
    (whole,) = review.log_odds([list(review.places)])
    toward = 1.0 if whole >= 0.0 else -1.0
    found = {}
    for name, (_, weigh) in WAYS.items():
        order = np.argsort(-toward * weigh(review), kind="stable").tolist()
        found[name] = area(review, order)
        if name == SHOWN:
            found["reversed"] = area(review, order[::-1])
    shuffled = [rng.sample(review.places, len(review.words)) for _ in range(RANDOM_ORDERS)]
    found["random"] = float(np.mean([area(review, order) for order in shuffled]))
    return found


def sampled(file: Path, count: int) -> list[list[str]]:
    """Words of so many different reviews with words enough."""
    texts = sorted({clean(review.text) for review in nsmc.read(file)})
    long_enough = [parts for parts in map(words, texts) if len(parts) >= FEWEST_WORDS]
    return random.Random(SEED).sample(long_enough, min(count, len(long_enough)))


def interval(figures: npt.NDArray[np.float64]) -> str:
    """The mean of (N,) figures and its 95 % bootstrap interval."""
    rng = np.random.default_rng(SEED)
    means = figures[rng.integers(len(figures), size=(RESAMPLES, len(figures)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{figures.mean():.4f} | {low:.4f} to {high:.4f}"


def deletion(found: Sequence[dict[str, float]]) -> list[str]:
    """Markdown, a row an order; differences are of the same reviews."""
    lines = [
        f"| order | inferences a word | deletion AUC | 95 % | less {PLAIN} | 95 % |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    column = {name: np.array([each[name] for each in found]) for name in found[0]}
    for name in (*WAYS, "random", "reversed"):
        cost = WAYS[name][0] if name in WAYS else ""
        difference = " | " if name == PLAIN else interval(column[name] - column[PLAIN])
        lines.append(f"| {name} | {cost} | {interval(column[name])} | {difference} |")
    return lines


def agreement(reviews: Sequence[Review]) -> list[str]:
    """Markdown, a row a way: how far it is from exact Shapley values, and how often it tells what they tell."""
    lines = [
        "| way | error, log odds (RMS) | 95 % | same side | same strongest word |",
        "|---|--:|--:|--:|--:|",
    ]
    exact = [shapley(review) for review in reviews]
    for name, (_, weigh) in WAYS.items():
        pairs = list(zip([weigh(review) for review in reviews], exact, strict=True))
        errors = np.array([np.sqrt(np.mean((ours - true) ** 2)) for ours, true in pairs])
        sides = np.concatenate(
            [np.sign(ours[abs(true) > CLEAR]) == np.sign(true[abs(true) > CLEAR]) for ours, true in pairs]
        )
        strongest = [np.argmax(abs(ours)) == np.argmax(abs(true)) for ours, true in pairs]
        lines.append(f"| {name} | {interval(errors)} | {sides.mean():.1%} | {np.mean(strongest):.1%} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.attribution", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=artifacts.BUNDLE, help="folder with a trained model")
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    parser.add_argument("--reviews", type=int, default=300)
    arguments = parser.parse_args()
    model = Model.load(arguments.bundle, "attribution")
    texts = sampled(nsmc_folder(arguments.nsmc) / "ratings_test.txt", arguments.reviews)
    reviews = [Review(parts, Remembering(model)) for parts in texts]
    rng = random.Random(SEED)
    found = [areas(review, rng) for review in reviews]
    counts = [len(parts) for parts in texts]
    short = [review for review in reviews if len(review.words) in EXACT_WORDS]
    print(f"{described(cpu=True)}\n")
    print(
        f"{model.bundle.manifest.model_name}; {len(reviews)} reviews of {min(counts)} to {max(counts)} words, "
        f"{np.mean(counts):.1f} on average; {RANDOM_ORDERS} random orders a review\n"
    )
    print("\n".join(deletion(found)))
    print(f"\n{len(short)} of them have {EXACT_WORDS[0]} to {EXACT_WORDS[-1]} words; a side counts beyond {CLEAR}\n")
    print("\n".join(agreement(short)))


if __name__ == "__main__":
    main()
