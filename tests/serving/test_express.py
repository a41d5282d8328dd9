"""The short way to a route: the same answers as through all layers, and everything else is passed on."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from serving.api import BUSIEST, PREFIX
from serving.app import create_app
from serving.body import LINGER_BYTES
from serving.boundary import RequestBoundary
from serving.express import Express
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def app(sentiment: Sentiment) -> FastAPI:
    app = create_app(Settings(max_texts=5, max_body_bytes=8_192))
    app.state.slots = Slots(sentiment)
    return app


async def answer(application: Any, method: str, path: str, **request: Any) -> tuple[int, dict[str, str], Any]:
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}") as client:
        response = await client.request(method, path, **request)
    content = response.json() if response.content else None
    if isinstance(content, dict) and "data" in content:
        del content["data"]["processing_time_ms"]  # as long as it may be
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return response.status_code, headers, content


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("POST", "/analyze", {"json": {"text": "좋아요", "return_probabilities": True}}),
        ("POST", "/batch", {"json": {"texts": ["좋아요", "별로", "좋아요"]}}),
        ("POST", "/batch", {"json": {"texts": ["좋" * 300] * 4}, "headers": {"Accept-Encoding": "gzip"}}),
        ("POST", "/batch", {"json": {"texts": ["좋아요"] * 6}}),
        ("POST", "/analyze", {"json": {"text": ""}}),
        ("POST", "/analyze", {"json": {"texts": "좋아요"}}),
        ("POST", "/analyze", {"content": b"{", "headers": JSON}),
        ("POST", "/analyze", {"content": "좋아요".encode("cp949"), "headers": JSON}),
        ("POST", "/analyze", {"content": b"text", "headers": {"Content-Type": "text/plain"}}),
        ("POST", "/analyze", {"json": {"text": "좋" * 9_000}}),
        ("POST", "/analyze/", {"json": {"text": "좋아요"}, "follow_redirects": False}),
        ("GET", "/analyze", {}),
        ("PUT", "/batch", {"json": {}}),
        ("GET", "/model-info", {}),
        ("POST", "/nothing", {}),
    ],
)
async def test_it_answers_as_all_layers_together_do(
    app: FastAPI, metrics: Metrics, method: str, path: str, request_: dict[str, Any]
) -> None:
    """Cached by the first, so that both say so."""
    request_ = {"headers": {}, **request_}
    request_["headers"] = {"X-Request-ID": "same", **request_["headers"]}
    await answer(app, method, path, **request_)
    long = await answer(RequestBoundary(app, metrics, set(BUSIEST)), method, path, **request_)
    short = await answer(RequestBoundary(Express(app, app, BUSIEST), metrics, set(BUSIEST)), method, path, **request_)
    assert short == long


async def test_without_a_model_it_says_so(app: FastAPI) -> None:
    app.state.slots = None
    status, headers, content = await answer(Express(app, app, BUSIEST), "POST", "/analyze", json={"text": "좋아요"})
    assert (status, headers["retry-after"], content["type"].rpartition(":")[2]) == (503, "1", "no-model")


@pytest.mark.parametrize(("pieces", "read"), [(3, 3), (1_000, LINGER_BYTES >> 20)])
async def test_a_body_that_is_refused_is_read_to_its_end_within_bounds(app: FastAPI, pieces: int, read: int) -> None:
    """Else the caller, who is still sending, would find a broken pipe and no answer."""
    taken = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * (1 << 20), "more_body": taken < pieces}

    async def send(message: Message) -> None:
        assert taken == read, "the answer comes after it"
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", str(pieces << 20).encode())]
    scope = {"type": "http", "method": "POST", "path": f"{PREFIX}/analyze", "headers": headers, "query_string": b""}
    await Express(app, app, BUSIEST)(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_caller_that_stops_sending_is_not_waited_for(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.body.LINGER_S", 0.05)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"text/plain"), (b"content-length", b"100")]
    scope = {"type": "http", "method": "POST", "path": f"{PREFIX}/analyze", "headers": headers, "query_string": b""}
    await asyncio.wait_for(Express(app, app, BUSIEST)(scope, receive, send), 2.0)
    assert sent[0]["status"] == 415
