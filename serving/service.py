"""The BentoML service: one model, one adaptive batcher, the contract's routes and a native one beside them."""

import asyncio
import gc
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import bentoml
from bentoml.exceptions import InvalidArgument, ServiceUnavailable
from bentoml.models import BentoModel
from pydantic import BaseModel, Field
from starlette.middleware import Middleware

from data.errors import TextError
from serving.api import VERSION
from serving.app import create_app, paths
from serving.batching import INFER, BatchingService, SharedBatcher
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.engine.remembered import default_folder
from serving.errors import ServingError
from serving.lifecycle import Draining, StartUp, keep_own_gpu
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.telemetry import logs
from serving.telemetry.logs import FIELDS
from serving.telemetry.metrics import Metrics
from serving.telemetry.tracing import Tracing

log = logging.getLogger("serving")

NAME = "nsmc-sentiment"
WARM_UP_CALLS = 3
"""Batches that go the whole way before the worker is ready."""
NATIVE_ROUTES = {"/predict", "/schema.json"}
PROBES = ("/livez", "/readyz", "/healthz", "/metrics")


class Arguments(BaseModel):
    """What is fixed when the Bento is built: the tag of the model that it embeds."""

    model_tag: str = Field(default="koelectra-nsmc:latest")


class NativeVerdict(BaseModel):
    """A verdict of the native route, without the text."""

    sentiment: str
    score: float
    positive: float


arguments = bentoml.use_arguments(Arguments)
settings = Settings.from_environment()
start_up = StartUp()
tracing = (
    Tracing.to(settings.tracing_endpoint, settings.tracing_share, VERSION)
    if settings.tracing_endpoint
    else Tracing.off()
)
metrics = Metrics(tracing=tracing)
app = create_app(settings)


def _middlewares() -> list[Middleware]:
    boundary = Middleware(
        RequestBoundary,
        metrics=metrics,
        routes=paths() | NATIVE_ROUTES,
        quiet=PROBES,
        logged=settings.access_log,
    )
    return [*tracing.middlewares(PROBES), boundary]


def _resources() -> dict[str, Any]:
    return {"resources": {"gpu": settings.gpus}} if settings.gpus else {}


@bentoml.service(name=NAME, service_class=BatchingService, workers=settings.processes, **_resources())
@bentoml.asgi_app(app, path="/")
class SentimentService:
    """Judges Korean movie reviews."""

    stored = BentoModel(arguments.model_tag)
    bento_service: BatchingService

    def __init__(self) -> None:
        start_up.lap("import")
        logs.configure(settings.log_format, settings.log_level)
        if settings.gpus:
            keep_own_gpu(os.environ, bentoml.server_context.worker_index or 1, settings.gpus)
        metadata = self.stored.info.metadata
        version = metadata.get("mlflow_version")
        self.model = Model.load(
            Path(self.stored.path),
            str(self.stored.tag),
            wanted=settings.wanted,
            remembered=default_folder() if settings.remember_engine else None,
            mlflow_version=None if version is None else str(version),
        )
        self._device = ThreadPoolExecutor(1, "infer")
        self._draining = Draining(settings.drain_s, lambda: metrics.ready(yes=False))
        start_up.lap("model")

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the way from the routes to the model, and warm it up, before the worker is ready."""
        shared = None
        if settings.redis_url:
            from serving.redis_cache import RedisCache

            shared = RedisCache(
                settings.redis_url,
                metrics,
                ttl_s=settings.cache_ttl_s,
                timeout_ms=settings.redis_timeout_ms,
                retry_after_s=settings.redis_retry_after_s,
            )
        batcher = SharedBatcher(
            self.bento_service.factory,
            metrics,
            max_batch_size=settings.max_batch_size,
            max_batch_tokens=settings.max_batch_tokens,
            max_queue_tokens=settings.max_queue_tokens,
        )
        golden = [list(sample.ids) for sample in self.model.bundle.manifest.golden]
        for _ in range(WARM_UP_CALLS):
            await batcher.positive(golden)
        cache = TieredCache(settings.cache_entries, metrics, shared)
        app.state.sentiment = Sentiment(self.model, batcher, cache, metrics)
        self._draining.watch()
        # what is loaded now lives as long as the process: the collector need not look at it again
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        engine, cut = self.model.engine, self.model.runner.choice.schedule.cut
        metrics.serving(self.model.tag, self.model.mlflow_version, engine.name, engine.precision)
        metrics.ready(yes=True)
        start_up.lap("warm_up")
        log.info("ready after %.2f s", start_up.total_s, extra={FIELDS: start_up.parts})
        log.info("serving %s with %s in %s, %s, %s", self.model.tag, engine.name, engine.precision, engine.layout, cut)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what is being inferred."""
        service: Sentiment | None = app.state.sentiment
        if service is not None:
            app.state.sentiment = None
            await service.close()
        self._device.shutdown()
        tracing.close()
        log.info("stopped")

    def __is_ready__(self) -> bool:
        return not self._draining.begun

    @bentoml.api(
        batchable=True,
        max_batch_size=settings.max_batch_size,
        max_latency_ms=settings.max_latency_ms,
        route=f"/{INFER}",
    )
    async def infer(self, rows: list[list[int]]) -> list[float]:
        """P(positive) of token id rows; only the dispatcher calls it."""
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._device, self.model.positive, rows)).tolist()  # type: ignore[no-any-return]

    @bentoml.api(route="/predict")
    async def predict(self, texts: list[str]) -> list[NativeVerdict]:
        """BentoML's own way in, for its clients: verdicts in the order of the texts."""
        service: Sentiment | None = app.state.sentiment
        if service is None:
            raise ServiceUnavailable("no model is loaded")
        if not 1 <= len(texts) <= settings.max_texts:
            raise InvalidArgument(f"texts holds {len(texts)} reviews; 1 to {settings.max_texts} are allowed")
        try:
            async with asyncio.timeout(settings.timeout_s):
                answers = await service.analyze(texts)
        except TextError as error:
            raise InvalidArgument(f"texts[{error.index}]: {error}") from error
        except (ServingError, TimeoutError) as error:
            raise ServiceUnavailable(str(error) or f"no answer within {settings.timeout_s} s") from error
        return [
            NativeVerdict(sentiment=a.verdict.sentiment, score=a.verdict.score, positive=a.verdict.positive)
            for a in answers
        ]


cast("BatchingService", SentimentService).equip(metrics, settings.max_batch_tokens, _middlewares())
