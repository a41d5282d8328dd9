import asyncio
import threading

import pytest

from serving import memory


class Library:
    """What is asked of the C library."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.trimmed = threading.Semaphore(0)

    def mallopt(self, option: int, value: int) -> int:
        self.asked.append(("mallopt", option, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.asked.append(("malloc_trim", pad, 0))
        self.trimmed.release()
        return 1


def test_heaps_are_few_and_of_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(memory, "_library", lambda: library)
    memory.tidy()
    assert library.asked == [("mallopt", -8, 2), ("mallopt", -3, 1 << 20), ("mallopt", -1, 1 << 20)]


async def test_free_pages_are_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(memory, "_library", lambda: library)
    monkeypatch.setattr(memory, "PERIOD_S", 0.001)
    giving = asyncio.create_task(memory.give_back())
    for _ in range(3):
        assert await asyncio.to_thread(library.trimmed.acquire, timeout=5.0)
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)
    assert set(library.asked) == {("malloc_trim", 0, 0)}


async def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_library", lambda: None)
    memory.tidy()
    await asyncio.wait_for(memory.give_back(), 5.0)
