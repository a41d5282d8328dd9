import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from nsmc_sentiment import RetryPolicy

from tests.client.either import KINDS, Either
from tests.client.flaky_server import FlakyServer, serving

Connect = Callable[..., Either]
QUICK = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05)


@pytest.fixture(scope="module", autouse=True)
def _no_socket_is_left() -> Iterator[None]:
    """Sockets that nobody closed are ResourceWarnings, which are errors, once they are collected."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """No thread of a client outlives a test."""
    yield
    assert "nsmc-sentiment" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def flaky(_no_thread_is_left: None) -> Iterator[FlakyServer]:
    with serving() as server:
        yield server


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest, flaky: FlakyServer) -> Iterator[Connect]:
    """Makes clients of either kind, of ``flaky`` unless told otherwise; they are closed before the server is."""
    with ExitStack() as stack:

        def made(base_url: str | None = None, **options: Any) -> Either:
            kind = KINDS[request.param]
            client: Either = kind(base_url or flaky.url, **({"retries": QUICK} | options))
            stack.enter_context(client)
            return client

        yield made
