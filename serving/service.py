"""The BentoML service: one model, one adaptive batcher, the contract's routes and a native one beside them."""

import asyncio
import gc
import logging
from pathlib import Path

import bentoml
from bentoml.exceptions import InvalidArgument, ServiceUnavailable
from bentoml.models import BentoModel
from pydantic import BaseModel, Field

from data.errors import TextError
from serving.api import create_app
from serving.batching import INFER, BatchingService, SharedBatcher
from serving.boundary import without_message
from serving.cache import RedisCache, TieredCache
from serving.errors import ServingError
from serving.model import Model
from serving.sentiment import Sentiment
from serving.settings import Settings

log = logging.getLogger("bentoml.serve.sentiment")
NATIVE_LOGGER = "bentoml._internal.server.http_app"
"""Where BentoML logs what its native routes refuse, with the message of the exception."""

NAME = "nsmc-sentiment"
WARM_UP_CALLS = 12
"""The dispatcher learns what a batch costs from its first calls; these are not a caller's."""


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
app = create_app(settings)


@bentoml.service(
    name=NAME,
    service_class=BatchingService,
    workers=settings.workers,
    # a backstop behind the routes' own deadline, which answers with a problem
    traffic={"timeout": settings.timeout_s + 1.0},
    **({"resources": {"gpu": settings.gpus}} if settings.gpus else {}),
)
@bentoml.asgi_app(app, path="/")
class SentimentService:
    """Judges Korean movie reviews."""

    stored = BentoModel(arguments.model_tag)
    bento_service: BatchingService

    def __init__(self) -> None:
        metadata = self.stored.info.metadata
        version = metadata.get("mlflow_version")
        self.model = Model.load(
            Path(self.stored.path),
            str(self.stored.tag),
            wanted=settings.wanted,
            mlflow_version=None if version is None else str(version),
        )

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the way from the routes to the model, and warm it up, before the worker is ready."""
        shared = None
        if settings.redis_url:
            shared = RedisCache(
                settings.redis_url,
                ttl_s=settings.cache_ttl_s,
                timeout_ms=settings.redis_timeout_ms,
                retry_after_s=settings.redis_retry_after_s,
            )
        batcher = SharedBatcher(
            self.bento_service.factory,
            max_batch_size=settings.max_batch_size,
            max_queue_rows=settings.max_queue_rows,
        )
        golden = [list(sample.ids) for sample in self.model.bundle.manifest.golden]
        for call in range(WARM_UP_CALLS):
            await batcher.positive(golden[: 1 + call % len(golden)])
        app.state.sentiment = Sentiment(self.model, batcher, TieredCache(settings.cache_entries, shared))
        logging.getLogger(NATIVE_LOGGER).addFilter(without_message)
        # what is loaded now lives as long as the process: the collector need not look at it again
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        engine, cut = self.model.engine, self.model.runner.choice.schedule.cut
        log.info("serving %s with %s in %s, %s, %s", self.model.tag, engine.name, engine.precision, engine.layout, cut)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what is being inferred."""
        service: Sentiment | None = app.state.sentiment
        if service is not None:
            app.state.sentiment = None
            await service.close()

    @bentoml.api(
        batchable=True,
        max_batch_size=settings.max_batch_size,
        max_latency_ms=settings.max_latency_ms,
        route=f"/{INFER}",
    )
    def infer(self, rows: list[list[int]]) -> list[float]:
        """P(positive) of token id rows; only the dispatcher calls it."""
        positive: list[float] = self.model.positive(rows).tolist()
        return positive

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
