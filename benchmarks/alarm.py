"""An alarm clock for an event loop whose own timers are no finer than 1 ms. Linux only: ``timerfd_create(2)``.

A thread that sleeps would do too, and takes twice the processor time, which here is the server's. (Python 3.13 has
``os.timerfd_create``.)
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Iterable

CLOCK_MONOTONIC, ABSOLUTE = 1, 1
"""The clock of ``time.perf_counter``, and that a time is one of it and not from now on."""


class _Setting(ctypes.Structure):
    """``struct itimerspec``: the interval, which is none, and the first time."""

    _fields_ = [
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    ]


async def at_times(times: Iterable[float], call: Callable[[float], None]) -> None:
    """``call`` each of ascending ``times`` of ``time.perf_counter`` when it has come."""
    loop, libc = asyncio.get_running_loop(), ctypes.CDLL(None, use_errno=True)
    done = loop.create_future()
    coming = iter(times)
    timer = libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    following = next(coming, None)

    def ring() -> None:
        nonlocal following
        while following is not None and following <= time.perf_counter():
            call(following)
            following = next(coming, None)
        if following is None:
            done.set_result(None)
        else:
            setting = _Setting(0, 0, int(following), int(following % 1.0 * 1e9))
            libc.timerfd_settime(timer, ABSOLUTE, ctypes.byref(setting), None)

    def woken() -> None:
        os.read(timer, 8)
        ring()

    loop.add_reader(timer, woken)
    try:
        ring()
        await done
    finally:
        loop.remove_reader(timer)
        os.close(timer)
