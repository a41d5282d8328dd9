"""The path of a review, without HTTP: clean, look up, encode, infer in a shared batch, remember, judge."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from data.errors import TextError
from data.labels import Verdict
from data.text import clean_review
from serving.cache import TieredCache, cache_key
from serving.model import Model

INLINE_CHARACTERS = 500
"""So few take a fraction of a millisecond to encode; to hand them to a thread and back takes a tenth of one."""


class Batcher(Protocol):
    """Runs rows of many callers through the model together."""

    async def positive(self, rows: list[list[int]]) -> list[float]:
        """Calibrated P(positive) of each token id row. Raises Overloaded where the queue is full."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and whether it was known before."""

    verdict: Verdict
    cached: bool


class Sentiment:
    """Answers for one model. Simultaneous requests for the same text share one inference."""

    def __init__(self, model: Model, batcher: Batcher, cache: TieredCache) -> None:
        self.model = model
        self.cache = cache
        self._batcher = batcher
        self._in_flight: dict[str, asyncio.Future[float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def analyze(self, texts: Sequence[str], *, truncate: bool = False) -> list[Answer]:
        """An answer for each raw text, in order.

        Raises TextError, whose ``index`` says which text, before anything is inferred; and what the batcher raises.
        """
        cleaned = _cleaned(texts)
        manifest, precision = self.model.bundle.manifest, self.model.engine.precision
        keys = [cache_key(manifest, precision, text, truncate=truncate) for text in cleaned]
        found = dict(zip(keys, await self.cache.get(keys), strict=True))
        missing = [index for index, key in enumerate(keys) if found[key] is None]
        rows = await self._encoded(cleaned, missing, truncate)
        inferred = await self._inferred({keys[index]: row for index, row in zip(missing, rows, strict=True)})
        answers = []
        for key in keys:
            known = found[key]
            positive = inferred[key] if known is None else known
            answers.append(Answer(self.model.verdict(positive), cached=known is not None))
        return answers

    async def close(self) -> None:
        """Wait for what is being inferred, then let go of the cache."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cache.close()

    async def _encoded(self, cleaned: Sequence[str], indices: Sequence[int], truncate: bool) -> list[list[int]]:
        texts = [cleaned[index] for index in indices]
        encode = partial(self.model.bundle.encoder.encode, texts, truncate=truncate)
        try:
            # the tokenizer leaves the interpreter lock alone, so that other requests go on beside many texts
            return encode() if sum(map(len, texts)) <= INLINE_CHARACTERS else await asyncio.to_thread(encode)
        except TextError as error:
            error.index = indices[error.index]
            raise

    async def _inferred(self, rows: dict[str, list[int]]) -> dict[str, float]:
        """P(positive) by key; a key that somebody is waiting for already is waited for, not inferred again."""
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[float]] = {}
        fresh: dict[str, list[int]] = {}
        for key, row in rows.items():
            future = self._in_flight.get(key)
            if future is None:
                future = loop.create_future()
                known = self.cache.peek(key)  # somebody may have finished between our look-up and now
                if known is not None:
                    future.set_result(known)
                else:
                    self._in_flight[key] = future
                    fresh[key] = row
            futures[key] = future
        if fresh:
            # a task of its own: a caller that leaves must not take the others' answers with it
            task = asyncio.create_task(self._infer(fresh))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return {key: await asyncio.shield(future) for key, future in futures.items()}

    async def _infer(self, rows: dict[str, list[int]]) -> None:
        try:
            answers = dict(zip(rows, await self._batcher.positive(list(rows.values())), strict=True))
        except Exception as error:  # handed to every caller that waits for it, whatever it is
            for key in rows:
                future = self._in_flight.pop(key)
                future.set_exception(error)
                future.exception()  # the callers may all have left; then nobody else retrieves it
            return
        self.cache.keep(answers)
        for key, positive in answers.items():
            self._in_flight.pop(key).set_result(positive)
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
