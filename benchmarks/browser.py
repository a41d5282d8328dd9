"""A headless Chromium, and the application for it to look at: for tests of the page, and for pictures of it."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from serving.access.access import Access
from serving.access.store import FileKeys
from serving.app import create_app, guard
from serving.cache import TieredCache
from serving.model import Model
from serving.sentiment import Batcher, Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics

VARIABLE = "CHROMIUM"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
STARTING_S = 20.0
NO_KEYS = Path("no-such-folder") / "keys.json"


class ChromiumMissing(RuntimeError):
    """There is no Chromium here."""


def chromium() -> str:
    """The program: what the environment names, else the first one on the PATH. Raises ChromiumMissing."""
    for name in filter(None, (os.environ.get(VARIABLE), *PROGRAMS)):
        if program := shutil.which(name):
            return program
    raise ChromiumMissing(
        f"there is no {', '.join(PROGRAMS)} on the PATH; install one (on Debian and Ubuntu: apt-get install chromium "
        f"fonts-nanum) or name its program in {VARIABLE}"
    )


class Directly:
    """A ``serving.sentiment.Batcher`` that runs the model at once."""

    def expect(self, rows: int) -> None:
        """There is room."""

    async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
        """See ``serving.sentiment.Batcher.positive``."""
        answers: list[float] = model.positive(rows).tolist()
        return answers


def application(
    model: Model, batcher: Batcher | None = None, settings: Settings | None = None, access: Access | None = None
) -> FastAPI:
    """All routes around ``model``, with a cache in this process, behind the guard.

    Without ``access`` there are no keys: none is needed to look or to ask, and nobody can give commands.
    """
    metrics = Metrics(CollectorRegistry())
    app = create_app(settings or Settings())
    app.state.slots = Slots(Sentiment(model, batcher or Directly(), TieredCache(1_000, metrics), metrics))
    app.state.access = access or Access(FileKeys(NO_KEYS), needed=False)
    app.user_middleware.append(guard(app))
    return app


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The base address of ``app``, on a port of its own, until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + STARTING_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
