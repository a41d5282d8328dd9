"""Callers that leave: what was begun for them is cancelled, so that nobody's time is spent on it."""

import asyncio
from types import TracebackType
from typing import Self

from fastapi import Request

from serving.errors import CallerLeft

PATIENCE_S = 0.01
"""A request that takes no longer is not watched: most of them, and to watch one takes longer than to let it be."""


class Watch:
    """A context manager that is left by CallerLeft once the caller of ``request``, whose body was read, hangs up."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._gone = False
        self._caller: asyncio.Task[object] | None = None
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._caller = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        caller, self._caller, self._listener = self._caller, None, None  # or its end and this would hold each other
        if self._gone and isinstance(error, asyncio.CancelledError) and caller is not None:
            caller.uncancel()
            raise CallerLeft("the caller hung up") from None

    def _begin(self) -> None:
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._caller is not None:
            self._caller.cancel()
