"""The door: nobody is turned away by a loop that is late once, and most are by one that is late for good."""

import asyncio
import time

import httpx
import pytest
from fastapi import FastAPI

from serving.api import BUSIEST, PREFIX
from serving.app import COMMANDS, create_app
from serving.door import LATE_S, LEAST, PERIOD_S, SPELL, Door, Lag
from serving.express import Express
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots


def test_who_is_late_once_turns_nobody_away() -> None:
    lag = Lag()
    for _ in range(100):
        lag.seen(2.0)
        lag.seen(0.0)
    assert lag.share == 1.0
    assert all(lag.admits() for _ in range(1_000))


def test_who_is_late_for_good_turns_away_until_it_is_on_time() -> None:
    lag = Lag()
    for _ in range(SPELL - 1):
        lag.seen(LATE_S)
    assert lag.share == 1.0
    shares = []
    for _ in range(50):
        lag.seen(LATE_S)
        shares.append(lag.share)
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == LEAST, "some are always let in, or it would never be known whether more can be"
    admitted = sum(lag.admits() for _ in range(10_000))
    assert 100 <= admitted <= 320
    for _ in range(round(2.0 / PERIOD_S)):
        lag.seen(0.0)
    assert lag.share == 1.0, "after two seconds all are let in again"


async def test_a_loop_that_is_held_up_is_seen_to_be_late() -> None:
    lag = Lag()
    looking = asyncio.create_task(lag.run())
    try:
        for _ in range(6 * SPELL):
            await asyncio.sleep(0)
            time.sleep(2 * LATE_S)  # noqa: ASYNC251 - what no coroutine should do
        assert lag.share < 1.0
        await asyncio.sleep(1.0)
        assert lag.share == 1.0
    finally:
        looking.cancel()


@pytest.fixture
def app(sentiment: Sentiment) -> FastAPI:
    app = create_app(Settings())
    app.state.slots = Slots(sentiment)
    return app


async def test_at_the_door(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    lag = Lag()
    monkeypatch.setattr(lag, "admits", lambda: False)
    whole = Door(Express(app, app, BUSIEST), app, lag, COMMANDS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=whole), base_url=f"http://test{PREFIX}") as client:
        refused = await client.post("/analyze", json={"text": "좋아요"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["type"] == "urn:nsmc-sentiment:problem:overloaded"
        assert (await client.get("/model-info")).status_code == 200, "who only looks is let in"
        command = await client.post("/rollout/stage", json={"value": "a:1"})
        assert command.json()["type"] != refused.json()["type"], "operators are let in"
        monkeypatch.setattr(lag, "admits", lambda: True)
        assert (await client.post("/analyze", json={"text": "좋아요"})).status_code == 200
