"""The two models that a worker may hold, and which of them answers whom.

A request is answered by one model from its beginning to its end; what changes meanwhile is for those that come after.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Unpack

from data.errors import TextError
from serving.cache import TieredCache
from serving.errors import Overloaded
from serving.model import Model
from serving.rollout.observed import Observed
from serving.sentiment import Answer, How, Sentiment

log = logging.getLogger(__name__)

MIRRORS = 16
"""Requests that are mirrored at a time; more are not, for they are a sample anyway."""
MIRROR_LOAD = 0.25
"""Nothing is mirrored while the queue is fuller than this."""
_BUCKETS = 10_000


class Slots:
    """The live model, and the other one, which answers a share of the callers, or in the dark, or not at all."""

    def __init__(self, live: Sentiment, load: Callable[[], float] = lambda: 0.0) -> None:
        """``load`` says how full the queue is, from 0 to 1."""
        self.live = live
        self.other: Sentiment | None = None
        self.observed = Observed()
        self._weight = self._shadow = 0.0
        self._promoted = False
        self._load = load
        self._mirrors: set[asyncio.Task[None]] = set()

    def show(
        self, live: Sentiment, other: Sentiment | None, weight: float, shadow: float, *, promoted: bool = False
    ) -> None:
        """From now on these two, at these shares in percent; the live one is on trial if it was ``promoted``."""
        self.live, self.other, self._weight, self._shadow = live, other, weight, shadow
        self._promoted = promoted

    def turn(self, caller: str) -> "Turn":
        """What answers a request of ``caller``: always the same model while the share grows."""
        other = self.other
        if other is not None and self._weight and bucket(other.model.tag, caller) < self._weight / 100:
            return Turn(self, other, self.live, new=True)
        return Turn(self, self.live, other, new=self._promoted)

    @property
    def cache(self) -> TieredCache:
        """Of both; keys never cross models."""
        return self.live.cache

    @property
    def model(self) -> Model:
        """The live one."""
        return self.live.model

    def inferred(self, model: Model, tokens: int, seconds: float) -> None:
        """A call of the engine; see ``serving.batching.Observer``."""
        if self.other is not None and (model is self.live.model or model is self.other.model):
            self.observed.inferred(tokens, seconds, new=(model is self.live.model) == self._promoted)

    def answered(self, turn: "Turn", texts: Sequence[str], answers: Sequence[Answer], *, truncate: bool) -> None:
        """Count a request, and mirror it if its number comes up."""
        self.observed.answered(len(answers), new=turn.new)
        beside = turn.beside
        if beside is None or not self._shadow or random.random() * 100 >= self._shadow:
            return
        if len(self._mirrors) < MIRRORS and self._load() < MIRROR_LOAD:
            task = asyncio.create_task(self._mirror(turn, beside, texts, answers, truncate=truncate))
            self._mirrors.add(task)
            task.add_done_callback(self._mirrors.discard)

    async def close(self) -> None:
        """Give up mirroring, and wait for what is being inferred."""
        for task in self._mirrors:
            task.cancel()
        if self.other is not None:
            await self.other.settle()
        await self.live.settle()
        await self.cache.close()

    async def _mirror(
        self, turn: "Turn", beside: Sentiment, texts: Sequence[str], answers: Sequence[Answer], *, truncate: bool
    ) -> None:
        observed = self.observed  # of this trial, whatever comes while the other model thinks
        try:
            found = await beside.analyze(texts, truncate=truncate, counted=False)
        except Overloaded:
            return
        except Exception as error:  # whatever it is, it is the model's, and no caller waits for it
            log.warning("%s failed on a mirrored request: %s", beside.model.tag, type(error).__name__)
            observed.failed(len(texts), new=not turn.new)
            return
        given, also = [answer.verdict for answer in answers], [answer.verdict for answer in found]
        if turn.new:
            given, also = also, given
        observed.pairs(texts, given, also)


class Turn:
    """One request's model; see ``Slots.turn``. Has what routes need of a ``Sentiment``."""

    __slots__ = ("_sentiment", "_slots", "beside", "new")

    def __init__(self, slots: Slots, sentiment: Sentiment, beside: Sentiment | None, *, new: bool) -> None:
        """``beside`` is the other model; ``new`` says whether the one that answers is on trial."""
        self._slots, self._sentiment, self.beside, self.new = slots, sentiment, beside, new

    @property
    def model(self) -> Model:
        """That answers."""
        return self._sentiment.model

    async def analyze(self, texts: Sequence[str], **how: Unpack[How]) -> list[Answer]:
        """See ``Sentiment.analyze``. Where a model on trial fails, the other one answers."""
        try:
            answers = await self._sentiment.analyze(texts, **how)
        except (TextError, Overloaded):
            raise
        except Exception as error:  # whatever it is, it is the model's
            if self.beside is None:
                raise
            self._slots.observed.failed(len(texts), new=self.new)
            if not self.new:
                raise
            failed, tag, kind = self.model.tag, self.beside.model.tag, type(error).__name__
            log.warning("%s failed on a request, %s answers: %s", failed, tag, kind)
            self._sentiment, self.beside = self.beside, None
            return await self._sentiment.analyze(texts, **how)
        if how.get("counted", True) and self.beside is not None:
            self._slots.answered(self, texts, answers, truncate=how.get("truncate", False))
        return answers


def bucket(tag: str, caller: str) -> float:
    """Where a caller stands between 0 and 1 in the queue for model ``tag``; each model has another order."""
    digest = hashlib.blake2b(f"{tag}\x00{caller}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _BUCKETS / _BUCKETS
