"""Quotas: exactly what is allowed, by all workers together, told in headers; and what happens without Redis."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from limits.aio.storage import memory

from serving.access import quota as quotas
from serving.access.quota import Allowance, Quota, network
from serving.api import BUSIEST, PREFIX
from serving.app import create_app, paths
from serving.boundary import RequestBoundary
from serving.errors import QuotaExceeded, RequestInvalid
from serving.express import Express
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from tests.redis_server import RedisServer

ADDRESS = "192.0.2.7"


async def admitted(quota: Quota, requests: int, key: str | None = "k", texts: int = 1) -> int:
    """How many of so many requests at once are let through."""
    asked = (quota.take(key, ADDRESS, texts) for _ in range(requests))
    return sum(isinstance(each, Allowance) for each in await asyncio.gather(*asked, return_exceptions=True))


async def test_exactly_what_is_allowed_is_let_through_by_two_workers(redis_url: str) -> None:
    workers = [Quota(100, 70, redis_url=redis_url, timeout_ms=5_000) for _ in range(2)]
    counts = await asyncio.gather(*(admitted(worker, 500) for worker in workers))
    assert sum(counts) == 100
    assert await admitted(workers[0], 1, key="another") == 1
    counts = await asyncio.gather(*(admitted(worker, 500, key=None) for worker in workers))
    assert sum(counts) == 70, "addresses have a quota of their own"
    for worker in workers:
        await worker.close()


async def test_reviews_are_counted_and_what_is_refused_is_not() -> None:
    quota = Quota(100, None)
    first = await quota.take("k", ADDRESS, 90)
    assert first is not None
    assert (first.texts, first.left) == (100, 10)
    with pytest.raises(QuotaExceeded, match=r"20 would be over the quota of 100 .*; 10 are left") as refused:
        await quota.take("k", ADDRESS, 20)
    assert 1 <= refused.value.retry_after_s <= 60
    assert await quota.take("k", ADDRESS, 10)
    with pytest.raises(RequestInvalid, match="texts holds 101 reviews; the quota is 100 in 60 s"):
        await quota.take("k", ADDRESS, 101)
    assert await quota.take(None, ADDRESS, 10_000) is None, "addresses have none here"


async def test_after_a_window_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    quota, now = Quota(64, None), [1_000_000.0 * 60]
    for module in (memory, quotas):
        monkeypatch.setattr(module.time, "time", lambda: now[0])
    assert await admitted(quota, 100) == 64
    now[0] += 90
    assert await admitted(quota, 100) == 32, "half of the window before still counts"
    now[0] += 120
    assert await admitted(quota, 100) == 64


async def test_without_redis_each_worker_counts_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    workers = [Quota(100, None, redis_url=server.url, timeout_ms=500, retry_after_s=0.2) for _ in range(2)]
    assert await admitted(workers[0], 60) == 60
    server.stop()
    assert [await admitted(worker, 200) for worker in workers] == [100, 100], "each by itself"
    assert len(caplog.messages) == 2
    assert "each worker counts by itself" in caplog.text
    server.start()
    await asyncio.sleep(0.3)
    assert [await admitted(worker, 1) for worker in workers] == [1, 1], "a probe of each has found that it is back"
    assert sum([await admitted(worker, 200) for worker in workers]) == 98, "what Redis lost is gone"
    for worker in workers:
        await worker.close()
    server.stop()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("testclient", "testclient", True),
    ],
)
def test_whoever_has_a_network_of_version_6_is_one_caller(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


@pytest.fixture
def app(sentiment: Sentiment) -> FastAPI:
    app = create_app(Settings())
    app.state.slots, app.state.quota = Slots(sentiment), Quota(64, 64)
    return app


@pytest.fixture
def client(app: FastAPI, metrics: Metrics) -> httpx.AsyncClient:
    whole = RequestBoundary(Express(app, app, BUSIEST), metrics, paths())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=whole), base_url=f"http://test{PREFIX}")


async def test_the_answer_says_what_is_left_and_a_refusal_when_to_come_back(client: httpx.AsyncClient) -> None:
    answer = await client.post("/analyze", json={"text": "굿"})
    assert answer.headers["RateLimit-Policy"] == '"address";q=64;w=60'
    assert re.fullmatch(r'"address";r=63;t=\d+', answer.headers["RateLimit"])
    batch = await client.post("/batch", json={"texts": ["굿"] * 62})
    assert batch.headers["RateLimit"].startswith('"address";r=1;')
    explained = await client.post("/explain", json={"text": "굿"})
    assert explained.headers["RateLimit"].startswith('"address";r=0;')
    for path, body in (("/analyze", {"text": "굿"}), ("/batch", {"texts": ["굿"]}), ("/explain", {"text": "굿"})):
        refused = await client.post(path, json=body)
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:nsmc-sentiment:problem:quota-exceeded"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"].startswith('"address";r=0;')
        assert "굿" not in refused.text
    assert (await client.post("/batch", json={"texts": ["굿"] * 65})).status_code == 422


async def test_a_stream_waits_for_its_quota_and_tells_what_it_does_not_get(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    app.state.settings = Settings(timeout_s=0.3, max_latency_ms=100)
    lines = '{"text": "굿"}\n' * 128
    answer = await client.post("/stream", content=lines, headers={"Content-Type": "application/x-ndjson"})
    totals = answer.text.splitlines()[-1]
    assert '"total_count":128,"error_count":64' in totals
    assert answer.text.count("quota-exceeded") == 64
