"""The REST contract, through the application and a real (tiny) model."""

import asyncio
import gzip
import resource
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from serving import routes_explain, schema
from serving.api import BUSIEST, PREFIX
from serving.app import create_app
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.errors import Overloaded
from serving.express import Express
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import DirectBatcher

SETTINGS = Settings(max_texts=5, max_body_bytes=8_192, timeout_s=0.5, max_latency_ms=100)
TELLTALE = "비밀스러운리뷰"


@pytest.fixture
def app(sentiment: Sentiment) -> FastAPI:
    app = create_app(SETTINGS)
    app.state.slots = Slots(sentiment)
    return app


@pytest.fixture
async def client(app: FastAPI, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    whole = RequestBoundary(Express(app, app, BUSIEST), metrics, set(BUSIEST))
    transport = httpx.ASGITransport(app=whole, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}") as client:
        yield client


async def test_analyze(client: httpx.AsyncClient, model: Model) -> None:
    text = "정말 <b>재미</b>있어요"
    response = await client.post("/analyze", json={"text": text, "return_probabilities": True})
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "success"
    data = body["data"]
    assert data["text"] == text
    assert set(data["probabilities"]) == {"부정", "긍정"}
    assert sum(data["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
    assert data["score"] == max(data["probabilities"].values())
    assert data["sentiment"] in ("긍정", "부정", "중립")
    assert data["processing_time_ms"] >= 0
    assert data["model_tag"] == model.tag == response.headers["X-Model-Tag"]
    expected = float(model.positive(model.bundle.encoder.encode(["정말 재미있어요"]))[0])
    assert data["probabilities"]["긍정"] == pytest.approx(expected, abs=1e-4)
    assert "정말".encode() in response.content, "Korean is not escaped"


async def test_probabilities_only_where_asked_for(client: httpx.AsyncClient) -> None:
    response = await client.post("/analyze", json={"text": "굿"})
    assert "probabilities" not in response.json()["data"]


async def test_batch(client: httpx.AsyncClient, app: FastAPI, model: Model, metrics: Metrics) -> None:
    app.state.slots = Slots(Sentiment(model, DirectBatcher(model), TieredCache(0, metrics), metrics))
    texts = ["정말 최고의 영화였어요!", "시간 낭비였습니다.", "그냥 그래요."]
    response = await client.post("/batch", json={"texts": texts})
    data = response.json()["data"]
    assert response.status_code == 200
    assert [result["text"] for result in data["results"]] == texts
    assert data["total_count"] == 3
    for text, result in zip(texts, data["results"], strict=True):
        alone = (await client.post("/analyze", json={"text": text})).json()["data"]
        assert not alone["cached"]
        assert (alone["sentiment"], alone["score"]) == (result["sentiment"], result["score"])
        assert 0.5 <= result["score"] <= 1.0


async def test_health_and_model_info(client: httpx.AsyncClient, app: FastAPI, model: Model) -> None:
    health = await client.get("/health")
    assert health.status_code == 200
    assert health.json()["status"] == "healthy"
    assert health.json() | {"timestamp": ""} == {
        "status": "healthy", "model_loaded": True, "redis_connected": False, "timestamp": "",
    }  # fmt: skip
    info = (await client.get("/model-info")).json()
    assert info["model_name"] == model.bundle.manifest.model_name
    assert (info["model_type"], info["language"], info["num_labels"], info["max_length"]) == (
        "ELECTRA",
        "Korean",
        2,
        512,
    )
    assert (info["model_tag"], info["mlflow_version"], info["engine"]) == (model.tag, "7", "onnxruntime-cpu")
    assert info["preprocessing_fingerprint"] == model.bundle.manifest.fingerprint
    app.state.slots = None
    out = await client.get("/health")
    assert (out.status_code, out.json()["status"], out.json()["model_loaded"]) == (503, "unhealthy", False)
    for path in ("/model-info", "/analyze"):
        call = client.get(path) if path == "/model-info" else client.post(path, json={"text": "굿"})
        response = await call
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.json()["type"].endswith(":no-model")


LONG = {"text": "재미 " * 600}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "field"),
    [
        ("/analyze", b"{", 400, "not-json", None),
        ("/analyze", b"[" * 3_000, 422, "invalid-request", None),
        ("/analyze", b"", 400, "not-json", None),
        ("/analyze", b"[]", 422, "invalid-request", None),
        ("/analyze", b"{}", 422, "invalid-request", "text"),
        ("/analyze", b'{"text": 1}', 422, "invalid-request", "text"),
        ("/analyze", b'{"text": null}', 422, "invalid-request", "text"),
        ("/analyze", b'{"text": "a", "return_probabilities": "yes"}', 422, "invalid-request", "return_probabilities"),
        ("/analyze", b'{"text": "a", "more": 1}', 422, "invalid-request", None),
        ("/analyze", b'{"text": ""}', 422, "empty-text", "text"),
        ("/analyze", b'{"text": "<br>&nbsp;"}', 422, "empty-text", "text"),
        ("/analyze", rb'{"text": "\ud800"}', 422, "invalid-text", "text"),
        ("/analyze", b'{"text": "\xff"}', 422, "invalid-request", None),
        ("/analyze", LONG, 422, "text-too-long", "text"),
        ("/batch", b'{"texts": []}', 422, "invalid-request", "texts"),
        ("/batch", b'{"texts": ["a", "b", "c", "d", "e", "f"]}', 422, "invalid-request", "texts"),
        ("/batch", b'{"texts": "a"}', 422, "invalid-request", "texts"),
        ("/batch", b'{"texts": ["a", 2]}', 422, "invalid-request", "texts[1]"),
        ("/batch", b'{"texts": ["a", " "]}', 422, "empty-text", "texts[1]"),
        ("/batch", rb'{"texts": ["a", "b", "\udc00"]}', 422, "invalid-text", "texts[2]"),
        ("/analyze", b'{"text": "' + b"a" * 9_000 + b'"}', 413, "body-too-large", None),
    ],
)
async def test_errors_are_problems(
    client: httpx.AsyncClient, path: str, body: Any, status: int, kind: str, field: str | None
) -> None:
    if isinstance(body, bytes):
        response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    else:
        response = await client.post(path, json=body)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:nsmc-sentiment:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert problem.get("field") == field


async def test_a_text_that_is_too_long_says_how_long_and_may_be_truncated(client: httpx.AsyncClient) -> None:
    problem = (await client.post("/analyze", json=LONG)).json()
    assert "tokens long; at most 512 are allowed" in problem["detail"]
    assert (await client.post("/analyze", json=LONG | {"truncate": True})).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_media_types(client: httpx.AsyncClient, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = await client.post("/analyze", content=b'{"text": "a"}', headers=headers)
    assert response.status_code == 415
    assert response.json()["type"].endswith(":unsupported-media-type")
    with_charset = {"Content-Type": "application/json; charset=utf-8"}
    assert (await client.post("/analyze", content=b'{"text": "a"}', headers=with_charset)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "content", "status", "kind"),
    [
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"text": "a"}'), 200, None),
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"text": "' + b"a" * 9_000 + b'"}'), 413, "body-too-large"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"text": "a"}')[:-3], 400, "not-gzip"),
        ({"Content-Encoding": "gzip"}, b'{"text": "a"}', 400, "not-gzip"),
        ({"Content-Encoding": "br"}, b"", 415, "unsupported-media-type"),
        ({"Content-Type": "application/json; charset=euc-kr"}, b"{}", 415, "unsupported-media-type"),
        ({"Content-Length": "9000"}, b"{}", 413, "body-too-large"),
    ],
)
async def test_packed_and_announced_bodies(
    client: httpx.AsyncClient, headers: dict[str, str], content: bytes, status: int, kind: str | None
) -> None:
    headers = {"Content-Type": "application/json"} | headers
    response = await client.post("/analyze", content=content, headers=headers)
    assert response.status_code == status
    assert kind is None or response.json()["type"].endswith(f":{kind}")


async def test_a_bomb_is_given_up_before_it_bursts(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b"0" * 500_000_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (await client.post("/analyze", content=bomb[:8_000], headers=headers)).status_code == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


async def test_long_answers_are_packed_for_those_who_take_them(client: httpx.AsyncClient) -> None:
    body = {"texts": [f"정말 재미있어요 {number} " * 20 for number in range(5)]}
    packed = await client.post("/batch", json=body, headers={"Accept-Encoding": "br, gzip"})
    plain = await client.post("/batch", json=body, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
    results = [response.json()["data"]["results"] for response in (packed, plain)]
    assert [result | {"cached": True} for result in results[0]] == results[1]
    short = await client.post("/analyze", json={"text": "굿"}, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in short.headers


async def test_a_caller_may_ask_for_a_fresh_answer(client: httpx.AsyncClient, batcher: DirectBatcher) -> None:
    async def cached(said: str | None) -> bool:
        headers = {"Cache-Control": said} if said else {}
        response = await client.post("/analyze", json={"text": "최고"}, headers=headers)
        return bool(response.json()["data"]["cached"])

    assert not await cached("no-store")
    assert not await cached(None), "what is not to be stored was not stored"
    assert await cached(None)
    assert not await cached("no-cache")
    assert await cached("max-age=60")
    assert len(batcher.calls) == 3


async def test_overload_and_deadline(client: httpx.AsyncClient, batcher: DirectBatcher) -> None:
    batcher.error = Overloaded("the queue is full")
    full = await client.post("/analyze", json={"text": "a"})
    assert (full.status_code, full.headers["Retry-After"]) == (503, "1")
    batcher.error, batcher.delay_s = None, 5.0
    late = await client.post("/analyze", json={"text": "b"})
    assert late.status_code == 504
    assert late.json()["detail"] == "no answer within 0.5 s"


async def test_the_deadline_counts_from_before_the_body(client: httpx.AsyncClient) -> None:
    async def dribble() -> AsyncIterator[bytes]:
        for letter in b'{"text": "a"}':
            yield bytes([letter])
            await asyncio.sleep(0.2)

    response = await client.post("/analyze", content=dribble(), headers={"Content-Type": "application/json"})
    assert response.status_code == 504
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_unknown_routes_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    for response in (await client.get("/nothing"), await client.get("/analyze")):
        assert response.status_code in (404, 405)
        assert response.headers["Content-Type"] == "application/problem+json"


async def test_what_goes_wrong_inside_is_told_without_the_text(
    client: httpx.AsyncClient, batcher: DirectBatcher, caplog: pytest.LogCaptureFixture
) -> None:
    batcher.error = KeyError(TELLTALE)
    response = await client.post("/analyze", json={"text": TELLTALE}, headers={"X-Request-ID": "mine-1"})
    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["X-Request-ID"] == "mine-1"
    assert response.json()["type"].endswith(":internal-error")
    assert TELLTALE not in response.text
    assert TELLTALE not in caplog.text
    assert "KeyError" in caplog.text
    assert "mine-1" in caplog.text


async def test_problems_and_logs_do_not_quote_the_text(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    for body in ({"text": f"{TELLTALE} ! ! " * 250}, {"text": TELLTALE, TELLTALE: 1}, {"texts": [TELLTALE]}):
        response = await client.post("/analyze", json=body)
        assert response.status_code in (413, 422)
        assert TELLTALE not in response.text
    assert TELLTALE not in caplog.text


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 200, False), ("", False)])
async def test_request_ids(client: httpx.AsyncClient, sent: str, kept: bool) -> None:
    response = await client.get("/health", headers={"X-Request-ID": sent})
    assert (response.headers["X-Request-ID"] == sent) is kept
    assert response.headers["X-Request-ID"]


async def test_openapi_names_every_route_and_status(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert {path.removeprefix(PREFIX) for path in document["paths"]} == {
        "/analyze", "/batch", "/explain", "/feedback", "/stream", "/health", "/model-info", "/rollout",
        "/rollout/history", "/rollout/stage", "/rollout/weight", "/rollout/shadow", "/rollout/promote",
        "/rollout/rollback", "/rollout/release",
    }  # fmt: skip
    analyze = document["paths"][f"{PREFIX}/analyze"]["post"]
    assert set(analyze["responses"]) == {"200", "400", "401", "403", "413", "415", "422", "429", "503", "504"}
    assert "text" in analyze["requestBody"]["content"]["application/json"]["schema"]["properties"]


async def test_openapi_has_an_example_of_every_body_and_problem(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            bodies = list(operation.get("requestBody", {}).get("content", {}).values())
            problems = [
                content
                for status, response in operation["responses"].items()
                for kind, content in response.get("content", {}).items()
                if kind == "application/problem+json" or (status == "200" and bodies)
            ]
            for content in [*bodies, *problems]:
                assert content.get("examples") or content.get("example"), (path, content)


@pytest.mark.parametrize(
    ("model", "example"), [*schema.EXAMPLES.items(), (routes_explain.ExplainResponse, routes_explain.EXAMPLE)]
)
def test_examples_are_what_the_schema_says(model: type[BaseModel], example: dict[str, Any]) -> None:
    assert model.model_validate(example).model_dump(mode="json", exclude_unset=True) == example
