"""BentoML's native route gets bodies that are bounded, unpacked and whole."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from serving.app import create_app
from serving.native import Bounded
from serving.settings import Settings

JSON = {"Content-Type": "application/json"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for BentoML: reads all that comes."""
    request = Request(scope, receive)
    content = await request.body()
    seen = {"length": len(content), "announced": request.headers["content-length"], "headers": [*request.headers]}
    await JSONResponse(seen)(scope, receive, send)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    own = create_app(Settings(max_body_bytes=8_192, timeout_s=0.3, max_latency_ms=100))
    app = Bounded(echo, own, {"/predict"})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield client


async def in_pieces(size: int, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(size // 1_024):
        await asyncio.sleep(pause_s)
        yield b"x" * 1_024


async def test_a_body_within_bounds_comes_through_whole(client: httpx.AsyncClient) -> None:
    answer = await client.post("/predict", content=in_pieces(8_192), headers=JSON)
    assert answer.json()["length"] == 8_192


async def test_a_packed_body_comes_through_unpacked(client: httpx.AsyncClient) -> None:
    content = json.dumps({"texts": ["굿"] * 100}).encode()
    answer = await client.post("/predict", content=gzip.compress(content), headers=JSON | {"Content-Encoding": "gzip"})
    assert answer.json()["length"] == int(answer.json()["announced"]) == len(content)
    assert "content-encoding" not in answer.json()["headers"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient, announced: bool) -> None:
    answer = await client.post("/predict", content=b"x" * 8_193 if announced else in_pieces(10_240), headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body is over 8,192 bytes"


async def test_a_bomb_and_a_slow_body_are_given_up(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    answer = await client.post("/predict", content=bomb, headers=JSON | {"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    slow = await client.post("/predict", content=in_pieces(8_192, pause_s=0.1), headers=JSON)
    assert (slow.status_code, slow.json()["detail"]) == (504, "the body did not come within 0.3 s")


async def test_what_is_no_json_is_refused_before_bentoml_parses_it(client: httpx.AsyncClient) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await client.post("/predict", content=b"{}", headers=form)).status_code == 415


async def test_other_routes_read_for_themselves(client: httpx.AsyncClient) -> None:
    assert (await client.post("/stream", content=b"x" * 10_000)).json()["length"] == 10_000
