"""Real services, a real Redis behind a proxy that may fail, and callers; what they see of each fault."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet import Fleet, fill_store, running
from tests.chaos.faults import FAULTS, Place
from tests.chaos.load import Callers
from tests.chaos.measure import Outcome, Spell, again, outcome
from tests.models import write_bundle
from tests.proxy import proxy
from tests.redis_server import redis_server

TAG = "tiny:1"
SERVICES, WORKERS = 2, 1
"""Two, so that what one has stored the other must find; which worker a connection comes to, nobody can choose."""
CALLERS, PAUSE_S = 4, 0.01
RETRY_AFTER_S = 2.0
"""As a service does by itself."""
PATIENCE_S, SETTLED_S, LOOK_S = 12.0, 0.5, 0.1


@dataclass(frozen=True, slots=True)
class Scene:
    """Services that run, and the Redis behind them."""

    fleet: Fleet
    place: Place


@asynccontextmanager
async def scene(folder: Path, retry_after_s: float = RETRY_AFTER_S) -> AsyncIterator[Scene]:
    """Services whose every look-up goes to Redis, and that count a quota there which nobody uses up."""
    home = folder / "home"
    home.mkdir(parents=True)
    fill_store(home, {TAG: write_bundle(folder / "bundle", seed=1).folder})
    surroundings = {
        "CACHE_ENTRIES": "0",  # in the process
        "REDIS_RETRY_AFTER_S": str(retry_after_s),
        "QUOTA_ADDRESS_TEXTS": str(1 << 40),
    }
    with redis_server(folder) as server, proxy(server.socket) as between:
        async with running(
            home, TAG, between.url, services=SERVICES, workers=WORKERS, surroundings=surroundings
        ) as fleet:
            yield Scene(fleet, Place(server, between))


async def endured(
    scene: Scene, faults: Sequence[str], *, before_s: float, fault_s: float
) -> AsyncGenerator[Outcome, None]:
    """Each fault in turn under load, from before it until some time after the cache is in use again."""
    callers = Callers(scene.fleet.bases, CALLERS, PAUSE_S)
    asking = asyncio.create_task(callers.run())
    try:
        await asyncio.sleep(1.0)  # the first requests are slower than the others
        for name in faults:
            spell = await _spell(scene.place, name, callers, before_s, fault_s)
            yield outcome(name, callers.answers, spell)
    finally:
        callers.stop()
        await asking


async def _spell(place: Place, name: str, callers: Callers, before_s: float, fault_s: float) -> Spell:
    began = time.perf_counter()
    await asyncio.sleep(before_s)
    broken_by = FAULTS[name](place)
    with ExitStack() as stack:  # mended whatever happens
        await asyncio.to_thread(stack.enter_context, broken_by)
        broken = time.perf_counter()
        await asyncio.sleep(fault_s)
        mending = time.perf_counter()
        await asyncio.to_thread(stack.close)
    mended = time.perf_counter()
    for _ in range(round(PATIENCE_S / LOOK_S)):
        if again(callers.answers, mended) is not None:
            break
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(SETTLED_S)
    return Spell(began, broken, mending, mended, time.perf_counter())
