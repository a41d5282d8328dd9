"""The route that weighs words, through the application and a real (tiny) model."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from benchmarks.browser import Directly, application
from serving.api import PREFIX
from serving.explain import LIMIT, log_odds
from serving.model import Model
from serving.settings import Settings

SETTINGS = Settings(max_body_bytes=8_192, timeout_s=0.5, max_latency_ms=100)


@pytest.fixture
def app(model: Model) -> FastAPI:
    return application(model, settings=SETTINGS)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}") as client:
        yield client


async def test_words_are_weighed(client: httpx.AsyncClient, model: Model) -> None:
    text = "정말 <b>재미</b>있어요  최고 노잼"
    response = await client.post("/explain", json={"text": text})
    assert response.status_code == 200
    data = response.json()["data"]
    alone = (await client.post("/analyze", json={"text": text, "return_probabilities": True})).json()["data"]
    assert (data["text"], data["model_tag"], data["cached"]) == (text, model.tag, False)
    for field in ("sentiment", "score", "probabilities"):
        assert data[field] == alone[field]
    assert [word["text"] for word in data["words"]] == ["정말", "재미있어요", "최고", "노잼"]
    (positive,) = model.positive_of(["정말 재미있어요 최고 노잼"]).tolist()
    assert sum(word["weight"] for word in data["words"]) == pytest.approx(log_odds(positive), abs=1e-3)
    again = (await client.post("/explain", json={"text": text})).json()["data"]
    assert again["cached"]
    assert again["words"] == data["words"]


async def test_a_long_text_is_refused_or_cut(client: httpx.AsyncClient) -> None:
    text = "재미 " * 600
    refused = await client.post("/explain", json={"text": text})
    assert (refused.status_code, refused.json()["field"]) == (422, "text")
    assert refused.json()["type"].endswith(":text-too-long")
    cut = await client.post("/explain", json={"text": text, "truncate": True})
    assert cut.status_code == 200
    assert len(cut.json()["data"]["words"]) == LIMIT


@pytest.mark.parametrize(
    ("body", "status", "kind", "field"),
    [
        (b"{", 400, "not-json", None),
        (b"{}", 422, "invalid-request", "text"),
        (b'{"text": "a", "return_probabilities": true}', 422, "invalid-request", None),
        (b'{"text": "<br>"}', 422, "empty-text", "text"),
        (b'{"text": "\\ud800"}', 422, "invalid-text", "text"),
        (b'{"text": "' + b"a" * 9_000 + b'"}', 413, "body-too-large", None),
    ],
)
async def test_problems(client: httpx.AsyncClient, body: bytes, status: int, kind: str, field: str | None) -> None:
    response = await client.post("/explain", content=body, headers={"Content-Type": "application/json"})
    content: dict[str, Any] = response.json()
    assert (response.status_code, content["type"].rpartition(":")[2], content.get("field")) == (status, kind, field)


async def test_it_is_given_up_at_the_deadline(model: Model) -> None:
    class Slow(Directly):
        def expect(self, rows: int) -> None:
            """There is room."""

        async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
            await asyncio.sleep(0.3)  # the text in time, its words not
            return await super().positive(model, rows)

    app = application(model, Slow(), SETTINGS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://test{PREFIX}") as client:
        late = await client.post("/explain", json={"text": "정말 재미있어요"})
    assert (late.status_code, late.json()["type"].rpartition(":")[2]) == (504, "deadline-exceeded")
    await app.state.slots.close()


async def test_without_a_model_there_is_no_answer(client: httpx.AsyncClient, app: FastAPI) -> None:
    app.state.slots = None
    response = await client.post("/explain", json={"text": "굿"})
    assert response.status_code == 503


async def test_it_is_documented(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert f"{PREFIX}/explain" in paths
    assert not {"/", "/rollout", "/page/page.js"} & set(paths)
