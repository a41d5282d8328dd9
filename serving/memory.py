"""Memory that was freed, given back to the system.

GNU's C library gives each thread a heap of its own, and of what was freed there it gives back next to nothing: what
one large request or one model took for a moment stays, once for each thread that ever had one. So there are few heaps,
and free pages are given back every now and then. Where the C library is another one (musl, macOS), nothing is done.
"""

import asyncio
import ctypes

HEAPS = 2
PERIOD_S = 10.0
_M_ARENA_MAX = -8
"""See ``malloc.h``."""


def few_heaps() -> None:
    """For all threads that begin from now on."""
    if (library := _library()) is not None:
        library.mallopt(_M_ARENA_MAX, HEAPS)


async def give_back() -> None:
    """Every now and then, on a thread and without the interpreter's lock, until cancelled."""
    library = _library()
    while library is not None:
        await asyncio.sleep(PERIOD_S)
        await asyncio.to_thread(library.malloc_trim, 0)


def _library() -> ctypes.CDLL | None:
    """GNU's; None where it is another one."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
