"""Whom to turn away before anything is read, where the event loop has more to do than it can.

The queue bounds what waits for the model (``serving.pace``). What comes before that, reading, parsing, looking up and
refusing, is work of the event loop; where more of it is asked than it can do, all wait for it, and nobody is told.
"""

import asyncio
import random
import time

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.body import Coming
from serving.errors import Overloaded
from serving.refusal import refuse

PERIOD_S = 0.02
LATE_S = 0.05
"""A timer that fires so much later than it was to: whatever became ready meanwhile waited as long."""
SPELL = 3
"""Times in a row: who is late once, for a collection's or a neighbour's sake, has nothing to turn away."""
LESS, MORE, LEAST = 0.85, 1.05, 0.02
"""What the share of those let in is multiplied by at each look, late or not: from the least to all takes 1.6 s."""


class Lag:
    """How late the event loop is, and the share of requests that it can read."""

    def __init__(self) -> None:
        self.share = 1.0
        """From ``LEAST`` to 1."""
        self._late = 0

    def admits(self) -> bool:
        """Whether the next request is to be read; by chance, so that who comes again may have more luck."""
        return self.share >= 1.0 or random.random() < self.share

    def seen(self, late_s: float) -> None:
        """A timer was so late."""
        if late_s < LATE_S:
            self._late = 0
            self.share = min(1.0, MORE * self.share)
            return
        self._late += 1
        if self.share < 1.0 or self._late >= SPELL:
            self.share = max(LEAST, LESS * self.share)

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            due = time.monotonic() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self.seen(time.monotonic() - due)


class Door:
    """Lets in what ``lag`` admits, whatever only looks (GET), and paths that begin with ``spared``. Pure ASGI."""

    def __init__(self, app: ASGIApp, own: FastAPI, lag: Lag, spared: str) -> None:
        """``own`` is the application that describes problems."""
        self.app = app
        self._own, self._lag, self._spared = own, lag, spared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        asks = scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith(self._spared)
        if not asks or self._lag.admits():
            await self.app(scope, receive, send)
            return
        error = Overloaded("more requests come than can be read")
        await refuse(error, self._own, scope, Coming(receive), send)
