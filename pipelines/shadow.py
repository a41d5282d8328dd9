"""What two models said of the same reviews in production, from the shadow log of a rollout: no texts and no labels.

Nobody knows which of them is right, so this says how they differ, and what each expects of itself. A review that came
more than once counts once; intervals are of 95 %.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from data.labels import NAMES, NEUTRAL
from pipelines.errors import PipelineError
from pipelines.table import text_table
from serving.errors import ServingError
from serving.rollout.observed import Pair
from serving.rollout.state import PREVIOUS
from serving.rollout.store import StateStore

SENTIMENTS = (NAMES[0], NEUTRAL, NAMES[1])
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """Of so many reviews a share, with its Wilson interval."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, events: int, trials: int) -> "Share":
        """From counts, of which ``trials`` is not 0."""
        interval = stats.binomtest(events, trials).proportion_ci(LEVEL, method="wilson")
        return cls(events / trials, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of something for both models, and of new minus old by review, with Student's interval."""

    old: float
    new: float
    difference: float
    low: float
    high: float

    @classmethod
    def of(cls, old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> "Figure":
        """From values (N,) of the same reviews."""
        difference = new - old
        mean, error = float(difference.mean()), 0.0
        if len(difference) > 1:
            error = float(stats.sem(difference) * stats.t.ppf((1 + LEVEL) / 2, len(difference) - 1))
        return cls(float(old.mean()), float(new.mean()), mean, mean - error, mean + error)


@dataclass(frozen=True, slots=True)
class Shadow:
    """Two models beside each other on ``reviews`` of ``pairs``; ``moves`` counts sentiments, old by new."""

    old_tag: str
    new_tag: str
    trial: int
    pairs: int
    reviews: int
    other_side: Share
    """Reviews that they put on different sides of 0.5."""
    other_sentiment: Share
    figures: dict[str, Figure]
    moves: dict[str, dict[str, int]]


def summary(old_tag: str, new_tag: str, trial: int, pairs: Sequence[Pair]) -> Shadow:
    """From the log of a trial. Raises PipelineError for an empty one."""
    if not pairs:
        raise PipelineError(f"nothing was mirrored in trial {trial}; `rollout shadow PERCENT` mirrors requests")
    reviews = list({pair.text: pair for pair in pairs}.values())
    old, new = np.array([pair.old for pair in reviews]), np.array([pair.new for pair in reviews])
    said = [(pair.old_sentiment, pair.new_sentiment) for pair in reviews]

    def share_of(sentiment: str) -> Figure:
        both = np.array(said) == sentiment  # (N, 2)
        return Figure.of(both[:, 0].astype(float), both[:, 1].astype(float))

    moves = Counter(said)
    return Shadow(
        old_tag,
        new_tag,
        trial,
        len(pairs),
        len(reviews),
        Share.of(int(((old >= 0.5) != (new >= 0.5)).sum()), len(reviews)),
        Share.of(sum(before != after for before, after in said), len(reviews)),
        {
            "P(positive)": Figure.of(old, new),
            "estimated accuracy": Figure.of(np.maximum(old, 1 - old), np.maximum(new, 1 - new)),
            **{f"share of {sentiment}": share_of(sentiment) for sentiment in SENTIMENTS},
        },
        {before: {after: moves[before, after] for after in SENTIMENTS} for before in SENTIMENTS},
    )


def read(store: StateStore, trial: int | None) -> Shadow:
    """The trial of the rollout that goes on, or one of the last seven days. Raises PipelineError."""

    async def ask() -> Shadow:
        try:
            state = await store.read()
            if state is None or (trial is None and state.other is None):
                raise PipelineError("no two models are beside each other; name the --trial, as the history counts them")
            number = state.trial if trial is None else trial
            if number == state.trial and state.other is not None:
                tags = (state.other, state.live) if state.role == PREVIOUS else (state.live, state.other)
            else:
                tags = ("old", "new")
            return summary(*tags, number, await store.logged(number))
        except ServingError as error:
            raise PipelineError(str(error)) from error
        finally:
            await store.close()

    return asyncio.run(ask())


def report(shadow: Shadow) -> str:
    """For a person at a terminal."""
    shares = {"other side": shadow.other_side, "other sentiment": shadow.other_sentiment}
    percent: Callable[[float], str] = "{:.2%}".format
    return "\n\n".join(
        (
            f"{shadow.old_tag} (old) and {shadow.new_tag} (new) on {shadow.reviews:,} reviews of {shadow.pairs:,} "
            f"mirrored, trial {shadow.trial}",
            text_table(
                ("they differ", "share", "95 %"),
                [(n, percent(s.share), f"[{percent(s.low)}, {percent(s.high)}]") for n, s in shares.items()],
            ),
            text_table(
                ("mean", "old", "new", "new - old (95 %)"),
                [
                    (name, f"{f.old:.4f}", f"{f.new:.4f}", f"{f.difference:+.4f} [{f.low:+.4f}, {f.high:+.4f}]")
                    for name, f in shadow.figures.items()
                ],
            ),
            text_table(
                ("old, to new", *SENTIMENTS),
                [(before, *map(str, row.values())) for before, row in shadow.moves.items()],
            ),
        )
    )
