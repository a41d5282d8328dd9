"""Callers that ask all that can be asked, well and badly, and note what they should not have been answered."""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.fleet import ANALYZE
from tests.fuzz.canary import Canary
from tests.soak.truth import Truth
from tests.soak.wrong import BATCH, FEEDBACK, STREAM, wrong

CALLERS, PAUSE_S = 6, 0.02
TIMEOUT_S = 30.0
KNOWN = 300
"""Texts that are asked again and again, in part out of the cache."""
BATCH_TEXTS, STREAM_LINES = 16, 80
MOST_WORDS = 40
SHOWN = 50
"""Failures that are kept; the rest is counted."""
ANEW = 0.01
"""So often a caller begins a new connection."""
KEEPING = "남겨도 되는 리뷰입니다"
"""What callers allow to be kept holds no marker."""
WORDS = (
    "정말",
    "재미있어요",
    "시간 낭비",
    "그냥 그래요",
    "연기가",
    "이야기가",
    "아쉽다",
    "최고",
    "별로",
    "ㅋㅋ",
    "ㅠㅠ",
)
Ask = Callable[["Caller"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered as it should have been; status 0 where no answer came."""

    at_s: float
    kind: str
    status: int
    said: str


class NotAnswered(Exception):
    """An answer that should be another one."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status} {said}")
        self.status, self.said = status, said


@dataclass(slots=True)
class Load:
    """Callers of one service, until they are told to stop."""

    base: str
    key: str
    """That they come with from now on."""
    canary: Canary
    truth: Truth
    counts: Counter[str] = field(default_factory=Counter)
    """Requests by kind."""
    failures: list[Failure] = field(default_factory=list)
    failed: int = 0
    _numbers: int = 0
    _began: float = field(default_factory=time.monotonic)
    _stopping: bool = False

    async def run(self) -> None:
        """All of them."""
        await asyncio.gather(*(Caller(self, number).run() for number in range(CALLERS)))

    def stop(self) -> None:
        """After what is under way."""
        self._stopping = True

    @property
    def requests(self) -> int:
        """In all."""
        return self.counts.total()

    @property
    def stopping(self) -> bool:
        """Whether they were told."""
        return self._stopping

    def note(self, kind: str, status: int, said: str) -> None:
        """A failure."""
        self.failed += 1
        if len(self.failures) < SHOWN:
            self.failures.append(Failure(time.monotonic() - self._began, kind, status, said[:200]))

    def new_text(self, chance: random.Random) -> str:
        """One that was not asked before."""
        self._numbers += 1
        return self._text(self._numbers + KNOWN, chance)

    def known_text(self, chance: random.Random) -> str:
        """One of those that come again."""
        number = chance.randrange(KNOWN)
        return self._text(number, random.Random(number))

    def _text(self, number: int, chance: random.Random) -> str:
        return " ".join([self.canary.of(number), *chance.choices(WORDS, k=1 + int(MOST_WORDS * chance.random() ** 3))])


class Caller:
    """Asks one thing after the other."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._name = f"caller-{number}"
        self._chance = random.Random(number)
        self._client = httpx.AsyncClient(base_url=load.base, timeout=TIMEOUT_S)
        self._wrong = number
        self._asked: deque[str] = deque(maxlen=8)
        """Ids of requests that may be corrected."""

    async def run(self) -> None:
        """Until told to stop."""
        kinds, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
        while not self._load.stopping:
            await asyncio.sleep(2 * PAUSE_S * self._chance.random())
            if self._chance.random() < ANEW:
                await self._client.aclose()
                self._client = httpx.AsyncClient(base_url=self._load.base, timeout=TIMEOUT_S)
            (kind,) = self._chance.choices(kinds, weights)
            self._load.counts[kind] += 1
            try:
                await KINDS[kind][1](self)
            except NotAnswered as error:
                self._load.note(kind, error.status, error.said)
            except (httpx.HTTPError, OSError) as error:
                self._load.note(kind, 0, repr(error))
            except (ValueError, KeyError) as error:
                self._load.note(kind, 200, f"the answer is another one: {error!r}")
        await self._client.aclose()

    async def new(self) -> None:
        """A review that nobody asked before."""
        await self._one(self._load.new_text(self._chance))

    async def known(self) -> None:
        """A review that was asked before."""
        await self._one(self._load.known_text(self._chance))

    async def batch(self) -> None:
        """Several reviews, some of them known."""
        texts = [self._any_text() for _ in range(self._chance.randint(2, BATCH_TEXTS))]
        answer = await self._client.post(BATCH, json={"texts": texts}, headers=self._headers())
        data = _data(answer, 200)
        self._check(data["model_tag"], texts, data["results"])
        self._asked.append(answer.headers["X-Request-ID"])

    async def stream(self) -> None:
        """Many reviews as lines, which come in pieces, and at times one that is no review."""
        texts = [self._any_text() for _ in range(self._chance.randint(1, STREAM_LINES))]
        bad = self._chance.randrange(len(texts)) if self._chance.random() < 0.2 else None
        lines = [_line(text) for text in texts]
        if bad is not None:
            lines[bad] = lines[bad].replace(b"}", b"")
        headers = self._headers() | {"Content-Type": "application/x-ndjson"}
        answer = await self._client.post(STREAM, content=self._pieces(lines), headers=headers)
        if answer.status_code != 200:
            raise NotAnswered(answer.status_code, answer.text)
        *results, totals = map(json.loads, answer.text.splitlines())
        problems = {result["index"]: result["error"]["status"] for result in results if "error" in result}
        if problems != ({} if bad is None else {bad: 400}) or totals["total_count"] != len(texts):
            raise NotAnswered(max(problems.values(), default=200), f"lines with problems: {problems}")
        given = [result for result in results if "error" not in result]
        self._check(totals["model_tag"], [texts[result["index"]] for result in given], given)

    async def correct(self) -> None:
        """Say what a review should have been called."""
        named: list[dict[str, Any]] = [
            {"text": self._any_text()},
            {"text": KEEPING, "keep_text": True},
            {"text_digest": f"{self._chance.getrandbits(256):064x}"},
            *({"request_id": request_id} for request_id in list(self._asked)[-1:]),
        ]
        body = {"label": self._chance.choice(("부정", "긍정")), **self._chance.choice(named)}
        _data(await self._client.post(FEEDBACK, json=body, headers=self._headers()), 202)

    async def wrong(self) -> None:
        """A request that is refused."""
        asked = wrong(self._wrong, self._load.new_text(self._chance))
        self._wrong += 1
        headers = {**(self._headers() if asked.with_key else {}), **asked.headers}
        answer = await self._client.request(asked.method, asked.path, content=asked.content, headers=headers)
        if answer.status_code != asked.status:
            raise NotAnswered(answer.status_code, f"{asked.name}: {answer.text}")

    async def leave(self) -> None:
        """Hang up: in the middle of the request, before the answer, or in the middle of that."""
        lines = b"".join(_line(self._load.new_text(self._chance)) for _ in range(STREAM_LINES))
        path, body = (STREAM, lines) if self._chance.random() < 0.5 else (ANALYZE, _line(self._any_text()))
        kind = "application/x-ndjson" if path == STREAM else "application/json"
        head = "".join(f"{name}: {value}\r\n" for name, value in self._headers().items())
        whole = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "\r\n"
        ).encode() + body
        sent = whole[: self._chance.choice((0, 20, len(whole) - len(body) // 2, len(whole)))]
        host, _, port = self._load.base.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(sent)
            await writer.drain()
            if sent == whole and self._chance.random() < 0.5:
                await reader.read(16)
            else:
                await asyncio.sleep(0.01 * self._chance.random())
        finally:
            writer.transport.abort()

    async def _one(self, text: str) -> None:
        more = {"return_probabilities": True} if self._chance.random() < 0.3 else {}
        answer = await self._client.post(ANALYZE, json={"text": text, **more}, headers=self._headers())
        data = _data(answer, 200)
        self._check(data["model_tag"], [text], [data])
        self._asked.append(answer.headers["X-Request-ID"])

    def _check(self, tag: str, texts: list[str], results: list[dict[str, Any]]) -> None:
        if len(texts) != len(results):
            raise NotAnswered(200, f"{len(results)} answers to {len(texts)} reviews")
        self._load.truth.check(tag, texts, results)

    def _any_text(self) -> str:
        return self._load.new_text(self._chance) if self._chance.random() < 0.5 else self._load.known_text(self._chance)

    def _headers(self) -> dict[str, str]:
        client = f"{self._name}-{self._chance.randrange(50)}"
        cache = {"Cache-Control": "no-store"} if self._chance.random() < 0.05 else {}
        return {"Authorization": f"Bearer {self._load.key}", "X-Client-ID": client, **cache}

    async def _pieces(self, lines: list[bytes]) -> AsyncIterator[bytes]:
        body, at = b"".join(lines), 0
        while at < len(body):
            size = self._chance.randint(100, 4_000)
            yield body[at : at + size]
            at += size
            await asyncio.sleep(0.002 * self._chance.random())


KINDS: dict[str, tuple[float, Ask]] = {
    "new": (0.36, Caller.new),
    "known": (0.36, Caller.known),
    "batch": (0.08, Caller.batch),
    "stream": (0.03, Caller.stream),
    "correction": (0.05, Caller.correct),
    "refused": (0.08, Caller.wrong),
    "hung up": (0.04, Caller.leave),
}
"""What is asked, and how often."""


def _line(text: str) -> bytes:
    return json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"


def _data(answer: httpx.Response, status: int) -> dict[str, Any]:
    if answer.status_code != status:
        raise NotAnswered(answer.status_code, answer.text)
    data: dict[str, Any] = answer.json()["data"]
    return data
