"""Callers under load who say what they asked before, so that it shows whether the cache is in use."""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from benchmarks.fleet import ANALYZE

BEGINNINGS = ("정말 재미있어요", "시간 낭비", "그냥 그래요", "연기가 좋다", "이야기가 아쉽다")
BACK = 4
"""A text is asked again after so many others of the same caller: by then the answer has been stored."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it began and ended (``time.perf_counter``), what was asked, and what came back."""

    began: float
    ended: float
    base: str
    text: str
    known: bool
    """The text was asked before, and answered."""
    status: int
    """0 where no answer came."""
    said: str = ""
    """What a failure is about."""
    cached: bool = False
    score: float = 0.0


@dataclass(slots=True)
class Callers:
    """They ask one after the other until they are told to stop: a new text, then one of those before, and so on.

    Each request goes to any of the services, by chance.
    """

    bases: Sequence[str]
    count: int
    pause_s: float
    answers: list[Answer] = field(default_factory=list)
    _stop: bool = False

    async def run(self) -> None:
        """All of them, each with connections of its own."""
        await asyncio.gather(*(self._call(number) for number in range(self.count)))

    def stop(self) -> None:
        """After what is under way."""
        self._stop = True

    async def _call(self, number: int) -> None:
        chance = random.Random(number)
        asked: deque[str] = deque()
        async with httpx.AsyncClient(timeout=30.0) as client:
            for turn in itertools.count():
                if self._stop:
                    return
                await asyncio.sleep(self.pause_s)
                known = len(asked) > BACK
                text = asked.popleft() if known else f"{BEGINNINGS[turn % len(BEGINNINGS)]} {number} {turn}"
                answer = await _asked(client, chance.choice(self.bases), text, known)
                self.answers.append(answer)
                if answer.status == 200 and not known:
                    asked.append(text)


async def _asked(client: httpx.AsyncClient, base: str, text: str, known: bool) -> Answer:
    began = time.perf_counter()
    try:
        response = await client.post(base + ANALYZE, json={"text": text})
    except httpx.HTTPError as error:
        return Answer(began, time.perf_counter(), base, text, known, 0, type(error).__name__)
    ended = time.perf_counter()
    if response.status_code != 200:
        return Answer(began, ended, base, text, known, response.status_code, _detail(response))
    data = response.json()["data"]
    return Answer(began, ended, base, text, known, 200, "", data["cached"], data["score"])


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError):
        return response.text[:80]
