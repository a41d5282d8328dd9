"""Corrections over HTTP: kept by digest, with a text only where the caller says so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from data.journal import Correction, Judged, Reading, text_digest
from serving import routes_feedback
from serving.api import BUSIEST, PREFIX
from serving.app import create_app
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.express import Express
from serving.journal import Journal
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import DirectBatcher

TEXT = "참 재밌기도 하겠다"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal", 1 << 20)
    yield journal
    await journal.close()


@pytest.fixture
def app(model: Model, batcher: DirectBatcher, metrics: Metrics, journal: Journal) -> FastAPI:
    app = create_app(Settings())
    app.state.slots = Slots(Sentiment(model, batcher, TieredCache(100, metrics), metrics, journal))
    app.state.journal = journal
    return app


@pytest.fixture
async def client(app: FastAPI, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=RequestBoundary(Express(app, app, BUSIEST), metrics, set(BUSIEST)))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}") as client:
        yield client


def kept(tmp_path: Path) -> list[Correction]:
    return list(Reading().lines_of(Correction, tmp_path / "journal"))


async def test_a_text_is_kept_only_where_the_caller_says_so(client: httpx.AsyncClient, tmp_path: Path) -> None:
    asked = {"label": "부정", "text": f" <b>{TEXT}</b>"}
    for keep in (False, True):
        response = await client.post("/feedback", json=asked | {"keep_text": keep}, headers={"X-Client-ID": "kim"})
        assert response.status_code == 202
        assert response.json() == {
            "status": "accepted",
            "data": {"label": "부정", "text_digest": text_digest(TEXT), "text_kept": keep},
        }
    first, second = kept(tmp_path)
    assert (first.label, first.digest, first.text) == (0, text_digest(TEXT), None)
    assert second.text == TEXT
    assert first.caller == second.caller != "kim"


async def test_a_review_is_named_by_its_digest_or_its_request(client: httpx.AsyncClient, tmp_path: Path) -> None:
    digest = text_digest(TEXT)
    for named in ({"text_digest": digest}, {"request_id": "r-1", "index": 2}):
        response = await client.post("/feedback", json={"label": "긍정"} | named)
        assert response.status_code == 202
        assert response.json()["data"]["text_digest"] == named.get("text_digest")
    first, second = kept(tmp_path)
    assert (first.digest, first.request) == (digest, None)
    assert (second.digest, second.request, second.index) == (None, "r-1", 2)


async def test_what_was_judged_can_be_named_afterwards(
    client: httpx.AsyncClient, journal: Journal, tmp_path: Path, model: Model
) -> None:
    answer = await client.post("/batch", json={"texts": ["별로", TEXT]}, headers={"X-Request-ID": "r-7"})
    await client.post("/explain", json={"text": TEXT})
    await client.post("/stream", content='{"text": "그냥"}\n', headers={"Content-Type": "application/x-ndjson"})
    await journal.flush()
    batch, explained, streamed = Reading().lines_of(Judged, tmp_path / "journal")
    assert batch.request == answer.headers["X-Request-ID"] == "r-7"
    assert batch.digests == (text_digest("별로"), text_digest(TEXT))
    assert batch.model == model.tag
    assert batch.characters == (2, len(TEXT))
    expected = model.positive_of(["별로", TEXT])
    assert batch.positive == pytest.approx(expected, abs=1e-4)
    assert (explained.digests, explained.request) == ((text_digest(TEXT),), None), "its fragments are no reviews"
    assert streamed.request is None, "lines that are refused would shift the others"


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"label": "부정"}, None, "exactly one of text, text_digest and request_id"),
        ({"label": "부정", "text": "a", "request_id": "b"}, None, "exactly one of text, text_digest and request_id"),
        ({"label": "중립", "text": "a"}, "label", "'부정' or '긍정'"),
        ({"text": "a"}, "label", "Field required"),
        ({"label": "부정", "text": "<br>"}, "text", "empty after cleaning"),
        ({"label": "부정", "text": "가" * 10_001}, "text", "at most 10,000 are allowed"),
        ({"label": "부정", "text_digest": "abc"}, "text_digest", "pattern"),
        ({"label": "부정", "request_id": "a b"}, "request_id", "pattern"),
        ({"label": "부정", "request_id": "a", "index": -1}, "index", "greater than or equal to 0"),
        ({"label": "부정", "text": "a", "index": 1}, "index", "within request_id, which is not given"),
        ({"label": "부정", "request_id": "a", "keep_text": True}, "keep_text", "there is no text to keep"),
    ],
)
async def test_what_names_no_review_is_refused(
    client: httpx.AsyncClient, tmp_path: Path, body: dict[str, Any], field: str | None, said: str
) -> None:
    response = await client.post("/feedback", json=body)
    assert response.status_code == 422
    assert response.json().get("field") == field
    assert said in response.json()["detail"]
    assert kept(tmp_path) == []


async def test_without_a_folder_nothing_is_taken(client: httpx.AsyncClient, app: FastAPI) -> None:
    app.state.journal = None
    response = await client.post("/feedback", json={"label": "부정", "text": TEXT})
    assert response.status_code == 503
    assert response.json()["type"] == "urn:nsmc-sentiment:problem:no-journal"
    assert response.json()["detail"] == "this service takes no corrections: JOURNAL_FOLDER is not set"


@pytest.mark.parametrize(("model", "example"), [(routes_feedback.FeedbackResponse, routes_feedback.EXAMPLE)])
def test_the_example_is_what_the_schema_says(model: type[BaseModel], example: dict[str, Any]) -> None:
    assert model.model_validate(example).model_dump(mode="json") == example
