"""The path of a review, without HTTP: clean, look up, encode, infer in a shared batch, remember, judge."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypedDict

from data.errors import TextError
from data.labels import Verdict
from data.text import clean_review
from serving.cache import ASK_AND_KEEP, CacheKeys, Reuse, TieredCache
from serving.journal import Journal
from serving.model import Model
from serving.telemetry.metrics import Metrics

INLINE_CHARACTERS = 500
"""So few take a fraction of a millisecond to encode; to hand them to a thread and back takes a tenth of one."""


class Batcher(Protocol):
    """Runs rows of many callers through the model together."""

    async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
        """``model``'s calibrated P(positive) of each token id row. Raises Overloaded where the queue is full."""

    def expect(self, rows: int) -> None:
        """Raises Overloaded where it would refuse so many rows, whatever is in them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and whether it was known before."""

    verdict: Verdict
    cached: bool


class How(TypedDict, total=False):
    """How texts are to be analyzed; see ``Sentiment.analyze``."""

    truncate: bool
    reuse: Reuse
    counted: bool
    request_id: str | None


@dataclass(eq=False, slots=True)
class _Flight:
    """Texts on their way through the model, and how many callers wait for any of them."""

    answers: dict[str, asyncio.Future[float]] = field(default_factory=dict)
    waiting: int = 0
    task: asyncio.Task[None] | None = None


class Sentiment:
    """Answers for one model. Simultaneous requests for the same text share one inference.

    An inference that nobody waits for any more is given up, if it has not begun.
    """

    def __init__(
        self, model: Model, batcher: Batcher, cache: TieredCache, metrics: Metrics, journal: Journal | None = None
    ) -> None:
        self.model = model
        self.cache = cache
        self._batcher = batcher
        self._metrics = metrics
        self._journal = journal
        self._flights: dict[str, _Flight] = {}
        self._known_keys: dict[tuple[str, bool], CacheKeys] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def analyze(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = False,
        reuse: Reuse = ASK_AND_KEEP,
        counted: bool = True,
        request_id: str | None = None,
    ) -> list[Answer]:
        """An answer for each raw text, in order; without ``counted``, metrics and journal do not tell of what was said.

        ``request_id`` is what a correction may name, where the texts are all that the request asks about.
        Raises TextError, whose ``index`` says which text, before anything is inferred; and what the batcher raises.
        """
        cleaned = _cleaned(texts)
        keys = self._keys(truncate).of(cleaned)
        with self._metrics.part("cache"):
            found = dict(zip(keys, await self.cache.get(keys, reuse), strict=True))
        missing = {key: index for index, key in enumerate(keys) if found[key] is None}
        if missing:
            if fresh := sum(key not in self._flights for key in missing):
                self._batcher.expect(fresh)  # before anything is done for somebody who will be refused
            rows = await self._encoded(cleaned, list(missing.values()), truncate)
            inferred = await self._inferred(dict(zip(missing, rows, strict=True)), reuse)
        answers = []
        for key in keys:
            known = found[key]
            verdict = self.model.verdict(inferred[key] if known is None else known)
            if counted:
                self._metrics.answered(verdict.sentiment, verdict.positive)
            answers.append(Answer(verdict, cached=known is not None))
        if counted:
            self._metrics.answered_by(self.model.tag, len(answers))
            if self._journal is not None:
                positive = [answer.verdict.positive for answer in answers]
                self._journal.judged(request_id, self.model.tag, cleaned, positive)
        return answers

    async def settle(self) -> None:
        """Wait for what is being inferred."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Settle, then let go of the cache."""
        await self.settle()
        await self.cache.close()

    def _keys(self, truncate: bool) -> CacheKeys:
        kind = self.model.engine.precision, truncate  # the precision is another one after a device has failed
        if kind not in self._known_keys:
            self._known_keys[kind] = CacheKeys(self.model.bundle.manifest, *kind)
        return self._known_keys[kind]

    async def _encoded(self, cleaned: Sequence[str], indices: Sequence[int], truncate: bool) -> list[list[int]]:
        texts = [cleaned[index] for index in indices]
        encode = partial(self.model.bundle.encoder.encode, texts, truncate=truncate)
        with self._metrics.part("tokenization"):
            try:
                # the tokenizer leaves the interpreter lock alone, so that other requests go on beside many texts
                return encode() if sum(map(len, texts)) <= INLINE_CHARACTERS else await asyncio.to_thread(encode)
            except TextError as error:
                error.index = indices[error.index]
                raise

    async def _inferred(self, rows: dict[str, list[int]], reuse: Reuse) -> dict[str, float]:
        """P(positive) by key; a key that somebody is waiting for already is waited for, not inferred again."""
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[float]] = {}
        flights: set[_Flight] = set()
        fresh: dict[str, list[int]] = {}
        own = _Flight()
        for key, row in rows.items():
            flight = self._flights.get(key)
            if flight is None:
                # somebody may have finished between our look-up and now
                if reuse.ask and (known := self.cache.peek(key)) is not None:
                    futures[key] = loop.create_future()
                    futures[key].set_result(known)
                    continue
                flight = self._flights[key] = own
                own.answers[key] = loop.create_future()
                fresh[key] = row
            futures[key] = flight.answers[key]
            flights.add(flight)
        self._metrics.looked_up("in_flight", "hit", len(rows) - len(fresh))
        if fresh:
            # a task of its own: a caller that leaves must not take the others' answers with it
            own.task = asyncio.create_task(self._infer(own, fresh, reuse))
            self._tasks.add(own.task)
            own.task.add_done_callback(self._tasks.discard)
        for flight in flights:
            flight.waiting += 1
        found: dict[str, float] = {}
        try:
            for key in futures:
                found[key] = await asyncio.shield(futures[key])
        finally:
            for flight in flights:
                flight.waiting -= 1
                if not flight.waiting:
                    self._give_up(flight)
            futures.clear()
        return found

    def _give_up(self, flight: _Flight) -> None:
        """Nobody waits for ``flight``: what comes now for its texts is another one. No-op where it has landed."""
        pending = {key: future for key, future in flight.answers.items() if not future.done()}
        for key, future in pending.items():
            del self._flights[key]
            future.cancel()
        if pending and flight.task is not None:
            flight.task.cancel()

    def _crash(self, flight: _Flight, error: Exception) -> None:
        """Tell all who wait. Nothing here holds a future then: the error's trace, which holds us, would be a cycle."""
        for key, future in flight.answers.items():
            if not future.done():
                del self._flights[key]
                future.set_exception(error)
                future.exception()  # the callers may all have left; then nobody else retrieves it
        flight.answers.clear()

    async def _infer(self, flight: _Flight, rows: dict[str, list[int]], reuse: Reuse) -> None:
        try:
            answers = dict(zip(rows, await self._batcher.positive(self.model, list(rows.values())), strict=True))
        except Exception as error:  # handed to every caller that waits for it, whatever it is
            self._crash(flight, error)
            return
        if reuse.keep:
            self.cache.keep(answers)
        for key, positive in answers.items():
            if not flight.answers[key].done():
                del self._flights[key]
                flight.answers[key].set_result(positive)
        if reuse.keep:
            await self.cache.share(answers)


def _cleaned(texts: Sequence[str]) -> list[str]:
    cleaned = []
    for index, text in enumerate(texts):
        try:
            cleaned.append(clean_review(text))
        except TextError as error:
            error.index = index
            raise
    return cleaned
