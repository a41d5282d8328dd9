"""An event loop in a thread of its own, for callers that have none."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for as long as the block around it lasts; what is not done by then is cancelled.

    ``resource`` is what they use: it is entered on the loop before the first and left there after the last.
    """

    def __init__(self, resource: AbstractAsyncContextManager[object]) -> None:
        self._resource = resource
        self._under_way: set[Future[Any]] = set()
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # a generator that nobody closes must not keep the interpreter from ending
        self._thread = threading.Thread(target=self._run, name="nsmc-sentiment", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop, self._ending = self._started.result()
        return self

    def __exit__(self, *_: object) -> None:
        for future in tuple(self._under_way):
            future.cancel()
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``coroutine`` on the loop."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)  # who waits for the loop raises it

    async def _serve(self) -> None:
        async with self._resource:
            ending = asyncio.Event()
            self._started.set_result((asyncio.get_running_loop(), ending))
            await ending.wait()
            # ours were cancelled; those that libraries began for them are theirs to end, and some do not bear a cancel
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
