"""Metrics, logs and traces: that they are there, are bounded, and hold no review."""

import gzip
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message

from serving.api import BUSIEST, PREFIX, VERSION
from serving.app import create_app, paths
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.express import Express
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.logs import FIELDS, REQUEST_ID, JsonFormatter, TextFormatter
from serving.telemetry.metrics import Metrics, forget_the_dead
from serving.telemetry.tracing import Tracing
from tests.serving.conftest import DirectBatcher

TELLTALE = "비밀스러운리뷰"


@pytest.fixture
def app(sentiment: Sentiment) -> FastAPI:
    app = create_app(Settings())
    app.state.slots = Slots(sentiment)
    return app


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://test{PREFIX}")


@pytest.fixture
async def client(app: FastAPI, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(RequestBoundary(app, metrics, paths(), ["/livez"])) as client:
        yield client


async def test_who_is_gone_while_the_body_is_awaited_is_no_error(
    app: FastAPI, metrics: Metrics, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async def receive() -> Message:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    async def send(message: Message) -> None:
        raise AssertionError(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": f"{PREFIX}/analyze", "headers": headers, "query_string": b""}
    await RequestBoundary(Express(app, app, BUSIEST), metrics, paths())(scope, receive, send)
    left = {"route": f"{PREFIX}/analyze", "status": "499"}
    assert registry.get_sample_value("sentiment_requests_total", left) == 1.0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_requests_are_counted_by_route_and_status_and_by_nothing_a_caller_makes_up(
    client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    await client.post("/analyze", json={"text": TELLTALE})
    await client.post("/analyze", json={"text": ""})
    for path in (f"/{TELLTALE}", "/a", "/b?c=d", "/analyze/e"):
        await client.get(path)
    await client.get("http://test/livez")
    text = generate_latest(registry).decode()
    lines = [line for line in text.splitlines() if line.startswith("sentiment_requests_total{")]
    assert sorted(lines) == [
        f'sentiment_requests_total{{route="{PREFIX}/analyze",status="200"}} 1.0',
        f'sentiment_requests_total{{route="{PREFIX}/analyze",status="422"}} 1.0',
        'sentiment_requests_total{route="other",status="404"} 4.0',
    ]
    assert TELLTALE not in text


async def test_answers_parts_and_caches_are_measured(
    client: httpx.AsyncClient, registry: CollectorRegistry, model: Model
) -> None:
    value = registry.get_sample_value
    await client.post("/batch", json={"texts": ["최고", "노잼", "최고"]})
    given = sum(value("sentiment_answers_total", {"sentiment": name}) or 0 for name in ("긍정", "부정", "중립"))
    assert given == value("sentiment_positive_count") == 3
    expected = model.positive_of(["최고", "노잼", "최고"]).sum()
    assert value("sentiment_positive_sum") == pytest.approx(expected, abs=1e-4)
    assert value("sentiment_cache_total", {"level": "local", "outcome": "miss"}) == 3
    for part in ("cache", "tokenization"):
        assert value("sentiment_part_seconds_count", {"part": part}) == 1
    await client.post("/analyze", json={"text": "최고"}, headers={"Cache-Control": "no-cache"})
    assert value("sentiment_cache_total", {"level": "local", "outcome": "bypass"}) == 1
    again = await client.post("/analyze", json={"text": "최고"})
    assert again.json()["data"]["cached"]
    assert value("sentiment_cache_total", {"level": "local", "outcome": "hit"}) == 1
    assert value("sentiment_part_seconds_count", {"part": "tokenization"}) == 2, "a hit is not encoded"


async def test_one_model_is_live_at_a_time(metrics: Metrics, registry: CollectorRegistry) -> None:
    first = {"model_tag": "koelectra-nsmc:1", "mlflow_version": "1", "engine": "onnxruntime-cpu", "precision": "int8"}
    metrics.serving(**first)
    metrics.serving("koelectra-nsmc:2", None, "onnxruntime-cpu", "fp32")
    assert registry.get_sample_value("sentiment_model", first) == 0
    second = first | {"model_tag": "koelectra-nsmc:2", "mlflow_version": "", "precision": "fp32"}
    assert registry.get_sample_value("sentiment_model", second) == 1


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the service logs, as it is written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("serving")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


async def test_a_line_for_each_request_with_its_id_and_without_its_text(
    client: httpx.AsyncClient, batcher: DirectBatcher, lines: io.StringIO
) -> None:
    await client.post("/analyze", json={"text": TELLTALE}, headers={"X-Request-ID": "mine-1"})
    await client.get(f"/{TELLTALE}")
    batcher.error = KeyError(TELLTALE)
    await client.post("/analyze", json={"text": TELLTALE + "!"}, headers={"X-Request-ID": "mine-2"})
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    seen = [(event["message"], event["request_id"], event.get("route"), event.get("status")) for event in events]
    assert seen[0] == ("answered", "mine-1", f"{PREFIX}/analyze", 200)
    assert (seen[1][0], seen[1][2:]) == ("answered", ("other", 404))
    assert seen[2][0].startswith("request mine-2 failed: KeyError at tests.serving.conftest:")
    assert seen[3] == ("answered", "mine-2", f"{PREFIX}/analyze", 500)
    assert TELLTALE not in lines.getvalue()


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_of_an_exception_only_type_and_place_are_logged(formatter: logging.Formatter) -> None:
    try:
        int(TELLTALE)
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("serving", logging.ERROR, __file__, 1, "%s went wrong", ("it",), error)
    setattr(record, FIELDS, {"rows": 3})
    token = REQUEST_ID.set("mine-3")
    text = formatter.format(record)
    REQUEST_ID.reset(token)
    assert TELLTALE not in text
    assert "\n" not in text
    for expected in ("it went wrong", "mine-3", "ValueError", "tests.serving.test_telemetry:", "rows"):
        assert expected in text


class Collector(ThreadingHTTPServer):
    """An OTLP/HTTP collector that keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        sent = ExportTraceServiceRequest.FromString(body)
        self.server.spans += [
            span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


async def test_a_trace_has_a_span_for_each_part_in_the_callers_trace(collector: Collector, model: Model) -> None:
    tracing = Tracing.to(f"http://127.0.0.1:{collector.server_port}", 1.0, VERSION)
    metrics = Metrics(CollectorRegistry(), tracing)
    app = create_app(Settings())
    app.state.slots = Slots(Sentiment(model, DirectBatcher(model), TieredCache(10, metrics), metrics))
    (middleware,) = tracing.middlewares(["/livez"])
    whole = middleware.cls(RequestBoundary(app, metrics, paths()), *middleware.args, **middleware.kwargs)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with client_of(whole) as client:
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        await client.post("/analyze", json={"text": TELLTALE}, headers=headers)
        await client.get("http://test/livez", headers=headers)
    metrics.waited(0.25, 0.5)
    tracing.close()
    names = [span.name for span in collector.spans if span.trace_id.hex() == trace_id]
    assert {"cache", "tokenization"} <= set(names)
    assert any(name.startswith("POST") for name in names)
    assert not any("livez" in span.name for span in collector.spans)
    past = {span.name: span for span in collector.spans if span.name in ("queue", "inference")}
    assert past["queue"].end_time_unix_nano - past["queue"].start_time_unix_nano == pytest.approx(0.25e9, rel=1e-3)
    assert past["inference"].start_time_unix_nano == pytest.approx(past["queue"].end_time_unix_nano, abs=1e8)
    assert TELLTALE not in "".join(map(str, collector.spans))


def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing = Tracing.off()
    assert tracing.middlewares(["/livez"]) == []
    with tracing.span("cache"):
        tracing.past("queue", 1.0, 0.0)
    tracing.close()


def test_workers_that_were_killed_are_forgotten(tmp_path: Path) -> None:
    """In processes of their own: the library decides where values are kept when it is loaded."""
    code = (
        "import os, sys\n"
        "from prometheus_client import CollectorRegistry\n"
        "from serving.telemetry.metrics import Metrics\n"
        "metrics = Metrics(CollectorRegistry())\n"
        "metrics.ready(yes=True)\n"
        "metrics.answered('긍정', 0.9)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    variables = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code], env=variables).returncode == -9

    def value(name: str) -> float | None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(tmp_path))
        return registry.get_sample_value(name)

    assert value("sentiment_ready") == 2.0
    one, _ = tmp_path.glob("gauge_livesum_*.db")
    shutil.copyfile(one, tmp_path / f"gauge_livesum_{os.getpid()}.db")  # of a worker that lives
    forget_the_dead(tmp_path)
    assert value("sentiment_ready") == 1.0
    assert value("sentiment_positive_count") == 2.0, "what was counted stays"
