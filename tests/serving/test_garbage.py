"""Requests leave no cycles: under load, the collector that has to find them stops the service for a second."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from serving.api import BUSIEST
from serving.app import create_app
from serving.boundary import RequestBoundary
from serving.errors import Overloaded
from serving.express import Express
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from serving.watch import PATIENCE_S
from tests.serving.conftest import DirectBatcher

ANALYZE = "/api/v1/sentiment/analyze"
REQUESTS = 20
Ask = Callable[[Any], Awaitable[int]]


@pytest.fixture
async def ask(sentiment: Sentiment, metrics: Metrics) -> Ask:
    """Asks as the server does, in a task of its own, and says the status."""
    own = create_app(Settings())
    own.state.slots = Slots(sentiment, lambda: 0.0)
    app = RequestBoundary(Express(own, own, BUSIEST), metrics, [ANALYZE], logged=False)

    async def asked(content: Any) -> int:
        statuses: list[int] = []
        body = json.dumps(content).encode()
        coming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if coming:
                return coming.pop()
            await asyncio.sleep(60.0)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope: Scope = {
            "type": "http", "method": "POST", "path": ANALYZE, "query_string": b"", "client": ("127.0.0.1", 1),
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        }  # fmt: skip
        await asyncio.create_task(_run(app, scope, receive, send))
        return statuses[0]

    return asked


async def _run(app: Any, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


class Full(DirectBatcher):
    """Refuses, early or late."""

    early = True

    def expect(self, rows: int) -> None:
        if self.early:
            raise Overloaded("full")

    async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
        await asyncio.sleep(self.delay_s)
        raise Overloaded("waited too long")


async def test_requests_leave_no_cycles(ask: Ask, sentiment: Sentiment, batcher: DirectBatcher) -> None:
    full = Full(batcher.model)
    kinds: dict[str, tuple[Any, int]] = {
        "answered": ({"text": "좋아요"}, 200), "empty": ({"text": ""}, 422), "not of the contract": ({"text": 1}, 422),
        "refused early": ({"text": "좋아요 {}"}, 503), "refused late": ({"text": "좋아요 {}"}, 503),
    }  # fmt: skip
    kinds = {"watched": ({"text": "느려요 {}"}, 200), **kinds}
    left: dict[str, Counter[str]] = {}
    for kind, (content, status) in kinds.items():
        if kind.startswith("refused"):
            full.early, full.delay_s = kind == "refused early", 2 * PATIENCE_S
            sentiment._batcher = full
        batcher.delay_s = 2 * PATIENCE_S if kind == "watched" else 0.0
        await ask(content)
        gc.collect()
        gc.disable()
        try:
            for number in range(REQUESTS):
                text = {"text": content["text"].format(number)} if "{}" in str(content) else content
                assert await ask(text) == status, kind
            gc.set_debug(gc.DEBUG_SAVEALL)
            if gc.collect() >= REQUESTS:
                left[kind] = Counter(type(each).__name__ for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == {}
