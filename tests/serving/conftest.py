import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from data.bundle import Bundle
from serving.cache import TieredCache
from serving.model import Model
from serving.sentiment import Sentiment
from serving.telemetry.metrics import Metrics
from tests.redis_server import redis_server


class DirectBatcher:
    """Runs the model at once, remembers what it was given, and may be slow or broken."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.calls: list[list[list[int]]] = []
        self.delay_s = 0.0
        self.error: Exception | None = None

    def expect(self, rows: int) -> None:
        """There is room."""

    async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
        self.calls.append(rows)
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        answers: list[float] = model.positive(rows).tolist()
        return answers


@pytest.fixture(scope="session")
def model(bundle: Bundle) -> Model:
    return Model.load(bundle.folder, tag="koelectra-nsmc:test", mlflow_version="7")


@pytest.fixture
def batcher(model: Model) -> DirectBatcher:
    return DirectBatcher(model)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


@pytest.fixture
def sentiment(model: Model, batcher: DirectBatcher, metrics: Metrics) -> Sentiment:
    return Sentiment(model, batcher, TieredCache(100, metrics), metrics)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as server:
        yield server.url
