"""A worker that does what the state says: loads what is staged, moves traffic, reports, and takes back what is bad."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from data.behaviour import BehaviourReport
from serving.errors import RolloutRefused, RolloutUnreachable, ServingError
from serving.rollout.gates import verdict
from serving.rollout.observed import Observed
from serving.rollout.operator import Operator, Order
from serving.rollout.state import PREVIOUS, State
from serving.rollout.store import StateStore
from serving.sentiment import Sentiment
from serving.slots import Slots
from serving.telemetry.logs import place

log = logging.getLogger(__name__)

PERIOD_S = 1.0
"""A worker reports, and looks by itself, at least so often."""
RETRY_S = 30.0
"""A live model that could not be loaded is tried again after so long; a staged one is not."""
WATCH = "watch"
"""Who takes a promotion back by itself."""

Load = Callable[[str], Awaitable[Sentiment]]
Ask = Callable[[str], Awaitable[BehaviourReport]]


class Follower:
    """Keeps ``slots`` as the store's state says. A store that cannot be reached changes nothing."""

    def __init__(
        self,
        slots: Slots,
        store: StateStore,
        operator: Operator,
        load: Load,
        ask: Ask,
        worker: str,
        moved: Callable[[State], None] = lambda _: None,
    ) -> None:
        """``load`` makes a tag ready to answer, or raises ServingError; ``ask`` takes it through the behaviour suite.

        ``worker`` is this process's name.

        ``moved`` is told of each state once it is what this worker serves.
        """
        self._moved = moved
        self._slots = slots
        self._store = store
        self._operator = operator
        self._load = load
        self._ask = ask
        self._worker = worker
        self._ready: dict[str, Sentiment] = {slots.live.model.tag: slots.live}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._behaviour: dict[str, dict[str, Any]] = {}
        self._retry_at = 0.0
        self._watched_until = 0.0
        """Of a clock that nobody steps."""
        self._state = State.beginning(slots.live.model.tag)
        self._served: State | None = None
        self._wake = asyncio.Event()
        self.cut_off = False
        """The store cannot be reached."""

    async def come_up(self) -> None:
        """Serve what the state says from the first request on, if it can be read and loaded; comes before ``run``."""
        try:
            state = await self._store.read()
        except RolloutUnreachable as error:
            log.warning("%s; this worker comes up on %s", error, self._state.live)
            return
        if state is None:
            return
        self._follow(state)
        if (loading := self._loading.get(state.live)) is not None:
            await loading
            self._follow(state)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
                if self.cut_off:
                    self.cut_off = False
                    log.info("the rollout's state can be reached again")
                await self._wait()
            except RolloutUnreachable as error:
                if not self.cut_off:
                    self.cut_off = True
                    log.warning("%s; what is served stays as it is", error)
                await asyncio.sleep(PERIOD_S)
            except Exception as error:  # whatever it is, a worker that no longer follows would be worse
                log.error("the rollout could not be followed: %s at %s", type(error).__name__, place(error))  # noqa: TRY400 - no trace
                await asyncio.sleep(PERIOD_S)

    async def close(self) -> None:
        """Give up what is being loaded."""
        tasks = [*self._loading.values(), *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._store.close()

    async def _wait(self) -> None:
        """For a change of the state, or of what is loaded here."""
        changed = asyncio.create_task(self._store.changed(PERIOD_S))
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({changed, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            if not changed.done():
                changed.cancel()
                await asyncio.wait({changed})
        self._wake.clear()
        if not changed.cancelled():
            changed.result()

    async def _look(self) -> None:
        state = await self._store.read()
        if state is None and self._state.generation:
            again = replace(self._state, generation=self._state.generation + 1)
            if await self._operator.restore(again, self._worker):
                log.warning("the rollout's state was gone; it was written again as generation %d", again.generation)
            state = await self._store.read()
        if state is not None:
            self._follow(state)
        await self._report()
        await self._watch()

    def _follow(self, state: State) -> None:
        if state.trial != self._state.trial:
            self._slots.observed = Observed()
            self._problems.clear()
        if state.watched_until != self._state.watched_until:
            self._watched_until = time.monotonic() + state.watched_until - time.time()
        self._state = state
        if state.live in self._problems and time.monotonic() > self._retry_at:
            del self._problems[state.live]  # what everybody else serves is tried again
        wanted = [tag for tag in (state.live, state.other) if tag is not None]
        for tag in wanted:
            if tag not in self._ready and tag not in self._loading and tag not in self._problems:
                self._loading[tag] = asyncio.create_task(self._make_ready(tag))
        live = self._ready.get(state.live)
        if live is None:
            return  # what answered so far goes on until it is there
        other = self._ready.get(state.other or "")
        self._slots.show(live, other, state.weight, state.shadow, promoted=state.role == PREVIOUS)
        for tag in [tag for tag in self._ready if tag not in wanted]:
            del self._ready[tag]
        for tag in [tag for tag in self._asking if tag not in wanted]:
            self._asking.pop(tag).cancel()
            self._behaviour.pop(tag, None)
        if other is not None:
            for tag in wanted:
                if tag not in self._asking:
                    self._asking[tag] = asyncio.create_task(self._go_through(tag))
        if state != self._served:
            self._served = state
            self._moved(state)
            log.info("generation %d: %s is live, %s beside it", state.generation, state.live, state.other or "nothing")

    async def _make_ready(self, tag: str) -> None:
        started = time.monotonic()
        try:
            self._ready[tag] = await self._load(tag)
            log.info("%s is ready after %.1f s", tag, time.monotonic() - started)
        except ServingError as error:
            self._problems[tag] = str(error)
            self._retry_at = time.monotonic() + RETRY_S
            log.warning("%s cannot be served: %s", tag, error)
        finally:
            del self._loading[tag]
            self._wake.set()

    async def _go_through(self, tag: str) -> None:
        """The behaviour suite, once for as long as the model is here."""
        try:
            self._behaviour[tag] = (await self._ask(tag)).brief().as_dict()
            self._wake.set()
        except ServingError as error:
            log.warning("%s could not be asked about its behaviour: %s", tag, error)

    async def _report(self) -> None:
        report = {
            "worker": self._worker,
            "generation": self._state.generation,
            "live": self._slots.live.model.tag,
            "ready": sorted(self._ready),
            "problems": self._problems,
            "behaviour": self._behaviour,
        }
        observed, trial = self._slots.observed, self._state.trial
        await self._store.report(self._worker, report, trial, dict(observed.counts))
        if pairs := observed.pending[:]:
            await self._store.log(self._worker, trial, pairs)
            del observed.pending[: len(pairs)]

    async def _watch(self) -> None:
        """Take a promotion back whose gates fail while it is watched; whichever worker sees it first."""
        if self._state.role != PREVIOUS or time.monotonic() > self._watched_until:
            return
        gates = await self._operator.observed(self._state)
        if verdict(gates) is not False:
            return
        why = "; ".join(f"{gate.name}: {gate.detail}" for gate in gates if gate.passed is False)
        try:
            await self._operator.carry_out(Order("rollback", WATCH, why))
            log.warning("the promotion of %s was taken back: %s", self._state.live, why)
        except RolloutRefused as error:
            log.info("the promotion was to be taken back, but %s", error)
