"""What operators do to a service meanwhile: rollouts, keys that take each other's place, and a Redis that dies."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import httpx

from benchmarks.fleet import FleetFailed
from serving.api import PREFIX
from serving.errors import ServingError
from serving.rollout.state import State
from tests.soak.load import Load
from tests.soak.scene import CALLERS, NEW, OLD, WORKERS, Scene

ROLLOUT, KEYS, REDIS, STAGED = "rollout", "keys", "Redis", "Redis while a model is staged"
LIMIT_S, STEP_LIMIT_S = 30.0, 240.0
IN_FORCE_S = 5.0
"""Promised in ``docs/security.md``."""
IN_A_ROW = 24
"""Connections that are answered alike: they come to both workers."""
UNDER_WAY_S = 1.0
"""A request that was sent has come to the guard."""
FORGOTTEN_S = 1.5
"""After so long, workers have reported to a Redis that came back."""


class ChurnFailed(RuntimeError):
    """A change that did not come about."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things change, in seconds."""

    rest_s: float = 15.0
    """Between two changes."""
    settle_s: float = 3.0
    """Of a rest: what was let go of is given back meanwhile, and nothing is measured."""
    hold_s: float = 2.0
    """While a model is staged, and while it was promoted."""
    out_s: float = 4.0
    """That Redis is gone."""


@dataclass(slots=True)
class Churn:
    """One change after the other, in turn, until told to stop."""

    scene: Scene
    load: Load
    pace: Pace
    warm_rollouts: int = 2
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    each_once: asyncio.Event = field(default_factory=asyncio.Event)
    """All that there is to change has been changed, or could not be."""
    warm_at: float | None = None
    """When there had been so many rollouts as it takes to be warm, by ``time.monotonic``."""
    quiet: bool = False
    _live: str = OLD
    _stopping: bool = False
    _hurried: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Begin with a rollout, end with a rest."""
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            ROLLOUT: self._roll_out, KEYS: self._rotate, REDIS: self._restart,
        }  # fmt: skip
        while True:
            for name, step in steps.items():
                await self._rest()
                if self._stopping:
                    return
                await self._change(name, step)
            self.each_once.set()

    def stop(self, *, hurry: bool) -> None:
        """After the change that is under way, and the rest that follows; without the rest in a ``hurry``."""
        self._stopping = True
        if hurry:
            self._hurried.set()

    async def _change(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(STEP_LIMIT_S):
                await step()
            self.done[name] += 1
        except (ChurnFailed, FleetFailed, ServingError, TimeoutError, httpx.HTTPError) as error:
            self.failures.append(f"{name} {self.done[name] + 1}: {type(error).__name__} {str(error)[:300]}")
            await self._recover()
        if self.warm_at is None and self.done[ROLLOUT] == self.warm_rollouts:
            self.warm_at = time.monotonic() + self.pace.settle_s

    async def _rest(self) -> None:
        for seconds, quiet in ((self.pace.settle_s, False), (self.pace.rest_s - self.pace.settle_s, True)):
            self.quiet = quiet
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurried.wait()
        self.quiet = False

    async def _roll_out(self) -> None:
        """Move to the other model, and let go of the one before; every fourth time go back.

        By turns over HTTP and on the command line. In every third rollout Redis dies while the model is staged.
        """
        number, tag = self.done[ROLLOUT], NEW if self._live == OLD else OLD
        order = self._over_http if number % 2 else self._typed
        await order("stage", tag)
        if problems := await self.scene.fleet.staged(tag):
            raise ChurnFailed(f"{tag} cannot be served: {problems}")
        await order("shadow", "50")
        await order("weight", "30")
        await asyncio.sleep(self.pace.hold_s)
        if number % 3 == 2:
            await self._restart()
            self.done[STAGED] += 1
        await order("promote")
        await self._settled(live=tag)
        await asyncio.sleep(self.pace.hold_s)
        if number % 4 == 3:
            await order("rollback")
            tag = self._live
        await order("release")
        await self._settled(live=tag)
        self._live = tag

    async def _recover(self) -> None:
        """After a change that failed: begin with one model again."""
        with suppress(FleetFailed, ServingError):
            if (state := await self._state()) is not None:
                self._live = state.live
                if state.other is not None:
                    await self.scene.fleet.order("release")

    async def _typed(self, command: str, value: str | None = None) -> None:
        """On the command line. Raises FleetFailed."""
        options = ("--force", "--watch-s", "0") if command == "promote" else ()
        await self.scene.fleet.command_line(command, *(() if value is None else (value,)), *options)

    async def _over_http(self, command: str, value: str | None = None) -> None:
        """With the operators' key. Raises ChurnFailed."""
        body = {"value": value, "who": "soak", "force": command == "promote"}
        headers = {"Authorization": f"Bearer {self.scene.admin_key}"}
        async with httpx.AsyncClient(base_url=self.scene.base, timeout=LIMIT_S) as client:
            answer = await client.post(f"{PREFIX}/rollout/{command}", json=body, headers=headers)
        if answer.status_code != 200:
            raise ChurnFailed(f"{command} is answered with {answer.status_code}: {answer.text}")

    async def _rotate(self) -> None:
        """Give callers another key, and revoke the one before."""
        before = self.load.key
        after = await self.scene.keys("create", CALLERS, "--scopes", "predict,feedback", "--days", "1")
        await self._answered(after, 200)
        self.load.key = after
        await asyncio.sleep(UNDER_WAY_S)
        await self.scene.keys("revoke", before.split("_")[1])
        await self._answered(before, 401)
        await self._answered(after, 200)

    async def _answered(self, key: str, status: int) -> None:
        """Until so many new connections in a row are. Raises ChurnFailed where that takes too long."""
        headers = {"Authorization": f"Bearer {key}"}
        began, row = time.monotonic(), 0
        while row < IN_A_ROW:
            async with httpx.AsyncClient(base_url=self.scene.base, timeout=LIMIT_S) as client:
                answer = await client.get(f"{PREFIX}/model-info", headers=headers)
            row = row + 1 if answer.status_code == status else 0
            if not row and time.monotonic() > began + IN_FORCE_S:
                raise ChurnFailed(f"a key is still answered with {answer.status_code} after {IN_FORCE_S:g} s")

    async def _restart(self) -> None:
        """SIGKILL to Redis, which comes back with what it had."""
        before = await self._state()
        self.scene.redis.stop()
        try:
            await asyncio.sleep(self.pace.out_s)
        finally:
            await asyncio.to_thread(self.scene.redis.start)
        await asyncio.sleep(FORGOTTEN_S)
        await self.scene.fleet.workers(WORKERS)
        await self._settled(live=None)
        after = await self._state()
        if before is not None and (after is None or replace(after, generation=before.generation) != before):
            raise ChurnFailed(f"the rollout was {before} before Redis died, and is {after}")

    async def _state(self) -> State | None:
        return await self.scene.fleet.store.read()

    async def _settled(self, live: str | None) -> None:
        status = await self.scene.fleet.settled()
        if live is not None and status["live"] != live:
            raise ChurnFailed(f"{status['live']} is live, not {live}")
