"""The rollout over HTTP: its history comes in parts. Who may do what is in ``tests/serving/access/test_guard.py``."""

from pathlib import Path

import httpx
import pytest

from serving.api import PREFIX
from serving.app import create_app
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator, Order
from serving.rollout.store import FileStore
from serving.settings import Settings

LIVE = "m:1"


@pytest.fixture
async def client(tmp_path: Path) -> httpx.AsyncClient:
    app = create_app(Settings())
    store = FileStore(tmp_path)
    operator = app.state.operator = Operator(store, Limits(), 60.0)
    tags = [LIVE, "m:2"]
    await store.report("a", {"generation": 0, "live": LIVE, "ready": tags, "problems": {}, "behaviour": {}}, 0, {})
    await operator.carry_out(Order("stage", "kim", "", "m:2", False))
    for share in range(1, 120):
        await operator.carry_out(Order("shadow", "kim", "", str(share % 100), False))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://test{PREFIX}/rollout")


async def test_the_last_changes_are_sent(client: httpx.AsyncClient) -> None:
    entries = (await client.get("/history")).json()
    assert [entry["number"] for entry in entries] == list(range(21, 121))
    (last,) = (await client.get("/history", params={"last": 1})).json()
    assert last == entries[-1]
    assert len((await client.get("/history", params={"last": 1_000})).json()) == 120


@pytest.mark.parametrize("last", ["0", "-1", "1001", "all", "", "1e3"])
async def test_how_many_cannot_be_anything(client: httpx.AsyncClient, last: str) -> None:
    answer = await client.get("/history", params={"last": last})
    assert (answer.status_code, answer.json()["field"]) == (422, "last")
