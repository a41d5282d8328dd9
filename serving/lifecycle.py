"""A worker's life: which GPU is its own, how long it took to be ready, and how it stops."""

import asyncio
import ipaddress
import logging
import os
import signal
import time
from collections.abc import Callable, MutableMapping
from types import FrameType

import psutil

log = logging.getLogger(__name__)

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
AGAIN_S = 0.5


def keep_own_gpu(environment: MutableMapping[str, str], worker_index: int, gpus: int) -> None:
    """Leave this process one GPU of ``gpus``; call it before any library asks what GPUs there are.

    Workers count from 1, and BentoML shows each of them the same GPUs. More workers than GPUs share them evenly.
    """
    visible = environment.get(VISIBLE_DEVICES)
    devices = [str(number) for number in range(gpus)] if visible is None else visible.split(",")
    environment[VISIBLE_DEVICES] = devices[(worker_index - 1) % len(devices)].strip()


def public_addresses() -> list[str]:
    """Where this process listens for other machines, too: a server's socket is its workers' from their beginning."""
    listening = (each for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN)
    return sorted({f"{each.laddr.ip}:{each.laddr.port}" for each in listening if not _loopback(each.laddr.ip)})


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


class StartUp:
    """What the time from the process's beginning until it is ready is spent on."""

    def __init__(self) -> None:
        self._last = self._began = psutil.Process(os.getpid()).create_time()
        self.parts: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """All that was done since the last lap is ``part``."""
        now = time.time()
        self.parts[f"{part}_s"] = round(now - self._last, 2)
        self._last = now

    @property
    def total_s(self) -> float:
        """Seconds so far."""
        return round(time.time() - self._began, 2)


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel ``task`` until it is over, whatever comes of it.

    Once is not always enough: ``asyncio.wait_for`` of Python 3.11, through which the client of Redis sends, takes no
    notice of a cancellation that comes just when what it waits for is done.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_S)
    await asyncio.gather(task, return_exceptions=True)  # its error is nobody's any more


class Draining:
    """Stops in two steps: at SIGTERM the worker says that it is not ready, and goes on; then the server's own stop.

    So a load balancer has time to send requests elsewhere. A second SIGTERM does not wait.
    """

    def __init__(self, drain_s: float, stopping: Callable[[], None]) -> None:
        """``stopping`` is called as soon as the signal comes."""
        self._drain_s = drain_s
        self._stopping = stopping
        self.begun = False

    def watch(self) -> None:
        """Take the signal over from the server; call it in its loop, in the main thread."""
        self._loop = asyncio.get_running_loop()
        self._server = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self.begun and self._drain_s:
            self._loop.call_soon_threadsafe(self._begin, number)
        else:
            self._loop.call_soon_threadsafe(self._stop, number)
        self.begun = True

    def _begin(self, number: int) -> None:
        self._stopping()
        log.info("told to stop; not ready any more, and done in %.1f s", self._drain_s)
        self._loop.call_later(self._drain_s, self._stop, number)

    def _stop(self, number: int) -> None:
        if callable(self._server):
            self._server(number, None)
