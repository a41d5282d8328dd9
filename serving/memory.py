"""Memory that was freed, given back to the system.

GNU's C library gives each thread a heap of its own, and of what was freed there it gives back next to nothing: what
one large request or one model took for a moment stays, once for each thread that ever had one. It also learns to put
ever larger blocks there, up to 32 MiB, between small ones that stay. So there are few heaps, large blocks are the
system's from the beginning, and free pages are given back every now and then. Where the C library is another one
(musl, macOS), nothing is done.
"""

import asyncio
import ctypes

HEAPS = 2
LARGE_BYTES = 1 << 20
PERIOD_S = 10.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""See ``malloc.h``."""


def tidy() -> None:
    """Few heaps, for all threads that begin from now on, and no large blocks in them."""
    if (library := _library()) is not None:
        library.mallopt(_M_ARENA_MAX, HEAPS)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)


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
