"""A caller that hangs up is noticed, by a real server, and what waits for it is given up."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from serving.api import PREFIX
from serving.app import create_app, paths
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics


class Waiting:
    """A batcher whose callers wait until they leave."""

    def __init__(self) -> None:
        self.given_up = 0
        self.waiting = 0

    def expect(self, rows: int) -> None:
        """There is room."""

    async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
        self.waiting += 1
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return [0.5] * len(rows)


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
async def port(model: Model, waiting: Waiting, metrics: Metrics) -> AsyncIterator[int]:
    app = create_app(Settings())
    app.state.slots = Slots(Sentiment(model, waiting, TieredCache(0, metrics), metrics))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    whole = RequestBoundary(app, metrics, paths())
    server = uvicorn.Server(uvicorn.Config(whole, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110 - it only says that it has
        await asyncio.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    await serving
    listening.close()


async def send(port: int, text: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    body = f'{{"text": "{text}"}}'.encode()
    head = f"POST {PREFIX}/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    await writer.drain()
    return writer


async def test_the_last_caller_that_leaves_takes_the_inference_along(
    port: int, waiting: Waiting, registry: CollectorRegistry
) -> None:
    first, second, other = [await send(port, text) for text in ("좋다", "좋다", "싫다")]

    async def reached(given_up: int) -> None:
        async with asyncio.timeout(5):
            while waiting.given_up < given_up:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.01)

    async with asyncio.timeout(5):
        while waiting.waiting < 2:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    first.close()
    await asyncio.sleep(0.2)
    assert waiting.given_up == 0, "somebody still waits for the same text"
    second.close()
    await reached(1)
    other.close()
    await reached(2)
    left = {"route": f"{PREFIX}/analyze", "status": "499"}
    async with asyncio.timeout(5):
        while registry.get_sample_value("sentiment_requests_total", left) != 3:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.01)
