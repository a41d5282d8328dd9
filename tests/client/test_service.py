"""The clients and the service agree: its real routes and a real (tiny) model, served by uvicorn."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from nsmc_sentiment import (
    Correction,
    CorrectionNotKept,
    Overloaded,
    RequestRejected,
    RetryPolicy,
    SentimentClient,
    ServiceUnavailable,
)
from prometheus_client import CollectorRegistry

from data import journal as kept
from data.bundle import Bundle
from data.journal import Judged, Reading, text_digest
from serving.api import PREFIX
from serving.app import create_app
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.errors import Overloaded as QueueFull
from serving.journal import Journal
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from tests.client.either import KINDS, Either
from tests.models import TEXTS
from tests.serving.conftest import DirectBatcher

SETTINGS = Settings(max_texts=64, max_body_bytes=65_536, timeout_s=0.3, max_latency_ms=100)
TELLTALE = "비밀스러운리뷰"
PROBLEM = "urn:nsmc-sentiment:problem:"
LONG = "재미 " * 600
ONCE = RetryPolicy(max_attempts=1)

Connect = Callable[..., Either]


class Service:
    """The application behind its boundary on a port of its own, in a thread."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.metrics = Metrics(CollectorRegistry())
        self.app: FastAPI = create_app(SETTINGS)
        whole = RequestBoundary(self.app, self.metrics, {f"{PREFIX}/analyze"}, logged=False)
        config = uvicorn.Config(whole, port=0, log_config=None, lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (listening,) = self._server.servers[0].sockets
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.refresh()

    def refresh(self, journal: Journal | None = None) -> None:
        """A batcher that works, a cache that is empty, and the journal, if there is to be one."""
        self.batcher = DirectBatcher(self.model)
        cache = TieredCache(100, self.metrics)
        self.app.state.slots = Slots(Sentiment(self.model, self.batcher, cache, self.metrics, journal))
        self.app.state.journal = journal

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def running(bundle: Bundle) -> Iterator[Service]:
    service = Service(Model.load(bundle.folder, tag="koelectra-nsmc:test", mlflow_version="7"))
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture
def service(running: Service) -> Service:
    running.refresh()
    return running


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest, service: Service) -> Iterator[Connect]:
    with ExitStack() as stack:

        def made(**options: Any) -> Either:
            client: Either = KINDS[request.param](service.url, **options)
            stack.enter_context(client)
            return client

        yield made


@pytest.fixture
def journal(service: Service, tmp_path: Path) -> Iterator[Journal]:
    """What a service with JOURNAL_FOLDER keeps."""
    journal = Journal(tmp_path / "journal", 1 << 20)
    service.refresh(journal)
    yield journal
    service.refresh()
    asyncio.run(journal.close())


def positive(service: Service, text: str) -> float:
    return float(service.model.positive(service.model.bundle.encoder.encode([text]))[0])


def test_a_review_is_judged_by_the_model(connect: Connect, service: Service) -> None:
    verdict = connect().analyze("정말 <b>재미</b>있어요", probabilities=True)
    expected = positive(service, "정말 재미있어요")
    assert verdict.text == "정말 <b>재미</b>있어요"
    assert verdict.probabilities == pytest.approx({"부정": 1 - expected, "긍정": expected}, abs=1e-4)
    assert verdict.probabilities is not None
    assert verdict.score == max(verdict.probabilities.values())
    assert (verdict.cached, verdict.model_tag) == (False, "koelectra-nsmc:test")


def test_a_fresh_answer_comes_from_no_cache(connect: Connect, service: Service) -> None:
    client = connect()
    assert [client.analyze("굿").cached for _ in range(3)] == [False, True, True]
    assert client.analyze("굿", fresh=True).cached is False
    assert len(service.batcher.calls) == 2


def test_any_number_is_judged_as_one_by_one(connect: Connect, service: Service) -> None:
    client = connect()
    words = dict.fromkeys(" ".join(TEXTS).split())
    texts = [" ".join(few) for few in itertools.islice(itertools.permutations(words, 3), 150)]
    verdicts = list(client.analyze_all(texts, batch_size=40, probabilities=True))
    assert [verdict.text for verdict in verdicts] == texts
    assert len({verdict.score for verdict in verdicts}) > 20, "the model tells them apart"
    for place in (0, 39, 40, 149):
        alone = client.analyze(texts[place], probabilities=True, fresh=True)
        assert alone == verdicts[place]


def test_health_and_model_info(connect: Connect, service: Service) -> None:
    client = connect()
    health = client.health()
    assert (health.status, health.model_loaded, health.redis_connected) == ("healthy", True, False)
    assert health.timestamp.tzinfo is not None
    info, manifest = client.model_info(), service.model.bundle.manifest
    assert (info.model_name, info.max_length) == (manifest.model_name, 512)
    assert (info.model_tag, info.mlflow_version) == ("koelectra-nsmc:test", "7")
    assert (info.engine, info.precision) == (service.model.engine.name, service.model.engine.precision)
    assert info.preprocessing_fingerprint == manifest.fingerprint


def test_a_service_without_a_model(connect: Connect, service: Service) -> None:
    service.app.state.slots = None
    client = connect(retries=ONCE)
    health = client.health()
    assert (health.status, health.model_loaded) == ("unhealthy", False)
    for call in (client.model_info, lambda: client.analyze("굿")):
        with pytest.raises(ServiceUnavailable, match="no model is loaded") as caught:
            call()
        assert (caught.value.type, caught.value.retry_after_s) == (f"{PROBLEM}no-model", 1.0)


@pytest.mark.parametrize(
    ("texts", "status", "slug", "field", "index"),
    [
        (["굿", "<br>&nbsp;"], 422, "empty-text", "texts[1]", 1),
        (["굿", "굿", LONG], 422, "text-too-long", "texts[2]", 2),
        (["\ud800"], 422, "invalid-text", "texts[0]", 0),
        ([], 422, "invalid-request", "texts", None),
        (["굿"] * 65, 422, "invalid-request", "texts", None),
        (["굿" * 30_000], 413, "body-too-large", None, None),
    ],
)
def test_what_the_service_refuses(
    connect: Connect, texts: list[str], status: int, slug: str, field: str | None, index: int | None
) -> None:
    with pytest.raises(RequestRejected) as caught:
        connect().batch(texts, request_id="mine-1")
    error = caught.value
    assert (error.status, error.type, error.field, error.index) == (status, PROBLEM + slug, field, index)
    assert error.request_id == "mine-1", "the service logs it under the caller's id"
    assert error.title in str(error)
    assert error.detail in str(error)


def test_a_review_that_is_too_long_is_refused_or_cut(connect: Connect) -> None:
    client = connect()
    with pytest.raises(RequestRejected, match="at most 512 are allowed"):
        client.analyze(LONG)
    assert client.analyze(LONG, truncate=True).text == LONG


def test_a_rejected_review_is_found_in_a_stream(connect: Connect) -> None:
    texts = [*(f"영화 {number}" for number in range(10)), " ", "굿"]
    found = []
    with pytest.raises(RequestRejected) as caught:
        for verdict in connect().analyze_all(texts, batch_size=4):
            found.append(verdict.text)  # noqa: PERF401 - what came before the error counts
    assert (caught.value.index, caught.value.field) == (10, "texts[2]")
    assert found == texts[:8]


def test_an_overloaded_service_says_when_to_come_back(connect: Connect, service: Service) -> None:
    service.batcher.error = QueueFull("the queue is full")
    with pytest.raises(Overloaded, match="the queue is full") as caught:
        connect(retries=ONCE).analyze(TELLTALE)
    assert caught.value.retry_after_s == 1.0
    assert TELLTALE not in str(caught.value)


def test_an_overload_passes(service: Service) -> None:
    service.batcher.error = QueueFull("the queue is full")
    recovery = threading.Timer(0.3, setattr, (service.batcher, "error", None))
    recovery.start()
    started = time.monotonic()
    with SentimentClient(service.url) as client:
        assert client.analyze(TELLTALE).text == TELLTALE
    assert time.monotonic() - started >= 1.0
    recovery.join()


def test_a_correction_finds_the_review_of_a_verdict(connect: Connect, journal: Journal, tmp_path: Path) -> None:
    client = connect()
    texts = ["굿", "<b>별로</b>", "그냥 그래요", "굿"]
    verdicts = [*client.analyze_all(texts, batch_size=2), client.analyze("굿")]
    assert verdicts[-1].cached
    for verdict in verdicts:
        correction = client.correct("부정", request_id=verdict.request_id, index=verdict.index)
        assert correction == Correction("부정", None, False)
    asyncio.run(journal.flush())
    judged = {line.request: line.digests for line in Reading().lines_of(Judged, tmp_path / "journal")}
    found = [judged[line.request][line.index] for line in Reading().lines_of(kept.Correction, tmp_path / "journal")]
    assert found == [text_digest(text) for text in ("굿", "별로", "그냥 그래요", "굿", "굿")]


def test_a_text_is_kept_only_where_the_caller_says_so(connect: Connect, journal: Journal, tmp_path: Path) -> None:
    client = connect()
    digest = text_digest(TELLTALE)
    first = client.correct("긍정", text=f" <b>{TELLTALE}</b>")
    assert first == Correction("긍정", digest, False)
    assert first.text_digest is not None
    assert client.correct("부정", text_digest=first.text_digest) == Correction("부정", digest, False)
    corrections = [*Reading().lines_of(kept.Correction, tmp_path / "journal")]
    assert [(line.label, line.digest, line.text) for line in corrections] == [(1, digest, None), (0, digest, None)]
    assert client.correct("부정", text=TELLTALE, keep_text=True) == Correction("부정", digest, True)
    *_, last = Reading().lines_of(kept.Correction, tmp_path / "journal")
    assert last.text == TELLTALE


@pytest.mark.parametrize(
    ("named", "slug", "field"),
    [
        ({"text": "<br>"}, "empty-text", "text"),
        ({"text_digest": TELLTALE}, "invalid-request", "text_digest"),
        ({"request_id": TELLTALE}, "invalid-request", "request_id"),
        ({"request_id": "r", "index": -1}, "invalid-request", "index"),
    ],
)
def test_a_correction_of_no_review_is_refused(
    connect: Connect, journal: Journal, named: dict[str, Any], slug: str, field: str
) -> None:
    with pytest.raises(RequestRejected) as caught:
        connect().correct("부정", **named)
    error = caught.value
    assert (error.status, error.type, error.field) == (422, PROBLEM + slug, field)
    assert TELLTALE not in str(error)


def test_a_service_that_keeps_no_corrections_says_so_at_once(connect: Connect) -> None:
    started = time.monotonic()
    with pytest.raises(CorrectionNotKept, match="JOURNAL_FOLDER is not set") as caught:
        connect().correct("부정", text=TELLTALE)
    assert time.monotonic() - started < 1.0, "it asks for a second before the next attempt"
    assert caught.value.type == f"{PROBLEM}no-journal"


def test_a_service_that_is_too_slow_says_so(connect: Connect, service: Service) -> None:
    service.batcher.delay_s = 0.5
    with pytest.raises(ServiceUnavailable, match="504") as caught:
        connect(retries=ONCE).analyze(TELLTALE)
    assert caught.value.type == f"{PROBLEM}deadline-exceeded"
