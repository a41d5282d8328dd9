"""The BentoML service: one model, one adaptive batcher, the contract's routes and a native one beside them."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import bentoml
from bentoml.exceptions import BentoMLException, InvalidArgument, ServiceUnavailable
from bentoml.models import BentoModel
from pydantic import BaseModel, Field
from starlette.middleware import Middleware

from data.behaviour import BehaviourReport
from data.errors import DataError, TextError
from serving import stored
from serving.access.admission import admission, quota_of
from serving.api import BUSIEST, VERSION, counted_by
from serving.app import PROBES, create_app, cross_origin, door, guard, paths
from serving.batching import INFER, BatchingService, Inference, SharedBatcher
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.door import Lag
from serving.errors import ModelUnavailable, QuotaExceeded, RequestInvalid, ServingError
from serving.express import Express
from serving.image import image
from serving.journal import Journal
from serving.lifecycle import Draining, StartUp, ended, keep_own_gpu
from serving.memory import give_back, tidy
from serving.model import Model
from serving.native import Bounded
from serving.rollout.conduct import Conduct
from serving.rollout.follower import Follower
from serving.rollout.operator import Operator
from serving.rollout.probe import turn
from serving.rollout.state import State
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry import logs
from serving.telemetry.logs import FIELDS
from serving.telemetry.metrics import Metrics, forget_the_dead
from serving.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from serving.redis_cache import RedisCache

log = logging.getLogger("serving")

NAME = "nsmc-sentiment"
WARM_UP_CALLS = 3
"""Batches that go the whole way before the worker is ready."""
ASIDE = 4
"""Threads for what would stop the event loop: encoding many texts, files, loading a model, giving memory back."""
NATIVE_ROUTES = {"/predict", "/schema.json"}


class Arguments(BaseModel):
    """What is fixed when the Bento is built: the tag of the model that it embeds, and whether it is for GPUs."""

    model_tag: str = Field(default="koelectra-nsmc:latest")
    gpu: bool = Field(default=False)


class QuotaUsedUp(BentoMLException):
    """What BentoML answers on its native route; without the headers of the others."""

    error_code = HTTPStatus.TOO_MANY_REQUESTS


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
lag = Lag()
app = create_app(settings)


def _middlewares() -> list[Middleware]:
    boundary = Middleware(
        RequestBoundary,
        metrics=metrics,
        routes=paths() | NATIVE_ROUTES,
        quiet=PROBES,
        logged=settings.access_log,
    )
    express = Middleware(Express, own=app, routes=BUSIEST)
    native = Middleware(Bounded, own=app, paths=NATIVE_ROUTES)
    outer = [*tracing.middlewares(PROBES), boundary, *cross_origin(settings)]
    return [*outer, guard(app), door(app, lag), express, native]


def _resources() -> dict[str, Any]:
    return {"resources": {"gpu": settings.gpus}} if settings.gpus else {}


@bentoml.service(
    name=NAME,
    service_class=BatchingService,
    image=image(gpu=arguments.gpu),
    workers=settings.processes,
    **_resources(),
)
@bentoml.asgi_app(app, path="/")
class SentimentService:
    """Judges Korean movie reviews."""

    embedded = BentoModel(arguments.model_tag)
    bento_service: BatchingService

    def __init__(self) -> None:
        start_up.lap("import")
        tidy()
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            forget_the_dead(Path(folder))
        logs.configure(settings.log_format, settings.log_level)
        if settings.gpus:
            keep_own_gpu(os.environ, bentoml.server_context.worker_index or 1, settings.gpus)
        stored.check(self.embedded, settings)
        self._embedded: Model | None = stored.load(self.embedded, settings)
        self._closing = AsyncExitStack()
        self._closing.callback(tracing.close)
        self._inference = Inference(metrics, self._inferred)
        self._closing.callback(self._inference.close)
        self._draining = Draining(settings.drain_s, lambda: metrics.ready(yes=False))
        start_up.lap("model")

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the way from the routes to the model, and warm it up, before the worker is ready."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(ASIDE, "aside"))
        await self._admit()
        self._keep_journal()
        self._batcher = SharedBatcher(self.bento_service.factory, metrics, max_queue_tokens=settings.max_queue_tokens)
        self._cache = TieredCache(settings.cache_entries, metrics, _shared_cache())
        embedded, self._embedded = cast("Model", self._embedded), None  # a rollout may let go of it
        self._slots = app.state.slots = Slots(await self._warm(embedded), lambda: self._batcher.load)
        del embedded
        self._closing.push_async_callback(self._slots.close)
        await self._follow()
        self._closing.callback(_forget)
        self._draining.watch()
        # what is loaded now lives as long as the process: the collector need not look at it again
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        self._beside(give_back())
        self._beside(lag.run())
        model = self._slots.live.model
        engine, cut = model.engine, model.runner.schedule.cut
        _tell(model)
        metrics.ready(yes=True)
        start_up.lap("warm_up")
        log.info("ready after %.2f s", start_up.total_s, extra={FIELDS: start_up.parts})
        log.info("serving %s with %s in %s, %s, %s", model.tag, engine.name, engine.precision, engine.layout, cut)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what is being inferred, and let go of everything, the last first."""
        await self._closing.aclose()
        log.info("stopped")

    async def _admit(self) -> None:
        """Know who may ask, and for how much. Raises SettingInvalid."""
        app.state.access = access = await admission(settings)
        self._closing.push_async_callback(access.close)
        self._beside(access.run())
        app.state.quota = quota = quota_of(settings)
        if quota is not None:
            self._closing.push_async_callback(quota.close)

    def _keep_journal(self) -> None:
        """Where there is a folder for it. Raises JournalFailed."""
        self._journal: Journal | None = None
        if settings.journal_folder is not None:
            self._journal = app.state.journal = Journal(settings.journal_folder, settings.journal_mib << 20)
            self._closing.push_async_callback(self._journal.close)
            self._beside(self._journal.run())

    async def _follow(self) -> None:
        """Serve what the rollout says, from now on."""
        store = settings.store()
        app.state.operator = Operator(store, settings.rollout_limits, settings.rollout_watch_s, _find)
        worker = f"{socket.gethostname()}-{os.getpid()}"
        self._conduct = Conduct(settings)
        follower = Follower(self._slots, store, app.state.operator, self._ready, self._behaviour, worker, self._moved)
        self._closing.push_async_callback(follower.close)
        await follower.come_up()
        self._beside(follower.run())

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Let ``work`` run until the service stops."""
        self._closing.push_async_callback(ended, asyncio.create_task(work))

    def _inferred(self, model: Model, tokens: int, seconds: float) -> None:
        slots: Slots | None = app.state.slots
        if slots is not None:
            slots.inferred(model, tokens, seconds)

    async def _ready(self, tag: str) -> Sentiment:
        """Tried in a child process, where this machine has not served it before, then loaded and warm.

        Raises ServingError.
        """
        found = await asyncio.to_thread(_find, tag)
        try:
            await asyncio.to_thread(stored.check, found, settings)
            await self._conduct.of(Path(found.path))
            async with turn():
                model = await asyncio.to_thread(stored.load, found, settings)
        except DataError as error:
            raise ModelUnavailable(str(error)) from error
        return await self._warm(model)

    async def _behaviour(self, tag: str) -> BehaviourReport:
        """What a model of the store made of the behaviour suite. Raises ServingError."""
        found = await asyncio.to_thread(_find, tag)
        try:
            return await self._conduct.of(Path(found.path))
        except DataError as error:
            raise ModelUnavailable(str(error)) from error

    async def _warm(self, model: Model) -> Sentiment:
        golden = [list(sample.ids) for sample in model.bundle.manifest.golden]
        for _ in range(WARM_UP_CALLS):
            await self._batcher.positive(model, golden)
        return Sentiment(model, self._batcher, self._cache, metrics, self._journal)

    def _moved(self, state: State) -> None:
        metrics.generation(state.generation)
        _tell(self._slots.live.model)

    def __is_ready__(self) -> bool:
        return not self._draining.begun

    @bentoml.api(
        batchable=True,
        max_batch_size=settings.max_batch_size,
        max_latency_ms=settings.max_latency_ms,
        route=f"/{INFER}",
    )
    async def infer(self, rows: list[Any]) -> list[float]:
        """P(positive) of pieces (see ``serving.batching``) that may share a call; only the dispatcher calls it."""
        return await self._inference(rows)

    @bentoml.api(route="/predict")
    async def predict(self, texts: list[str], ctx: bentoml.Context) -> list[NativeVerdict]:
        """BentoML's own way in, for its clients: verdicts in the order of the texts."""
        slots: Slots | None = app.state.slots
        if slots is None:
            raise ServiceUnavailable("no model is loaded")
        if not 1 <= len(texts) <= settings.max_texts:
            raise InvalidArgument(f"texts holds {len(texts)} reviews; 1 to {settings.max_texts} are allowed")
        try:
            async with asyncio.timeout(settings.timeout_s):
                await counted_by(app.state.quota, ctx.request, len(texts))
                answers = await slots.turn("").analyze(texts)
        except TextError as error:
            raise InvalidArgument(f"texts[{error.index}]: {error}") from error
        except RequestInvalid as error:
            raise InvalidArgument(str(error)) from error
        except QuotaExceeded as error:
            raise QuotaUsedUp(str(error)) from error
        except (ServingError, TimeoutError) as error:
            raise ServiceUnavailable(str(error) or f"no answer within {settings.timeout_s} s") from error
        return [
            NativeVerdict(sentiment=a.verdict.sentiment, score=a.verdict.score, positive=a.verdict.positive)
            for a in answers
        ]


def _forget() -> None:
    """Routes answer nobody any more."""
    app.state.slots = app.state.operator = app.state.journal = None


def _shared_cache() -> "RedisCache | None":
    if not settings.redis_url:
        return None
    from serving.redis_cache import RedisCache

    return RedisCache(
        settings.redis_url,
        metrics,
        ttl_s=settings.cache_ttl_s,
        timeout_ms=settings.redis_timeout_ms,
        retry_after_s=settings.redis_retry_after_s,
    )


def _find(tag: str) -> bentoml.Model:
    return stored.find(tag, settings)


def _tell(model: Model) -> None:
    """Metrics name the live model."""
    metrics.serving(model.tag, model.mlflow_version, model.engine.name, model.engine.precision)


cast("BatchingService", SentimentService).equip(metrics, _middlewares(), settings.max_connections)
