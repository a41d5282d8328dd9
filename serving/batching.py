"""One adaptive batcher for all routes: BentoML's own dispatcher, reached without a loop through HTTP.

BentoML batches the calls of an API method that come through that method's route. Routes of a mounted app do not, and
calling the service from itself costs an HTTP round trip. So the application factory, which owns the dispatchers, is
kept where the routes can await it. These are internals of the pinned BentoML; ``tests/contract`` guards them.
"""

from typing import Any

from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk import Service
from bentoml.exceptions import ServiceUnavailable
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from serving.errors import Overloaded

INFER = "infer"
"""Name of the batchable method: token id rows to P(positive)."""


class _Factory(ServiceAppFactory):
    """BentoML's application without a public route to the batched method: token ids are no one's interface."""

    @property
    def routes(self) -> list[BaseRoute]:
        return [route for route in super().routes if not (isinstance(route, Route) and route.name == INFER)]


class BatchingService(Service[Any]):
    """A BentoML service that lets its own instance reach the dispatchers, through ``factory``."""

    factory: ServiceAppFactory | None = None

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application, as BentoML's server asks for it."""
        self.inject_config()
        self.factory = _Factory(self, is_main=is_main)
        app: ASGIApp = self.factory()
        return app


class SharedBatcher:
    """Sends rows through the dispatcher of a running service; see ``serving.sentiment.Batcher``."""

    def __init__(self, factory: ServiceAppFactory, *, max_batch_size: int, max_queue_rows: int) -> None:
        self._factory = factory
        self._max_batch_size = max_batch_size
        self._max_queue_rows = max_queue_rows
        self._waiting_rows = 0

    async def positive(self, rows: list[list[int]]) -> list[float]:
        """P(positive) of each row, in order, from whatever batches the dispatcher makes of them.

        Raises Overloaded at once where the queue has no room, or when a row waited too long in it. Many rows are sent
        a batch at a time: the dispatcher would count the time that the first of them take as waiting of the last, and
        other callers' rows come in between.
        """
        if self._waiting_rows + len(rows) > self._max_queue_rows:
            raise Overloaded(f"{self._waiting_rows} of {self._max_queue_rows} places in the queue are taken")
        self._waiting_rows += len(rows)
        try:
            found: list[float] = []
            for start in range(0, len(rows), self._max_batch_size):
                found += await self._factory.batch_infer(INFER, (rows[start : start + self._max_batch_size],), {})
        except ServiceUnavailable as error:
            raise Overloaded("the request waited too long in the queue") from error
        finally:
            self._waiting_rows -= len(rows)
        return found
