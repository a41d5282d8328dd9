"""Answers that were given before: an in-process LRU cache, and behind it Redis.

What is kept is P(positive). Keys are digests: they name the model, the preprocessing and the text, and tell none of
them. A miss is None. No cache ever fails a request: Redis that is down, slow or read-only is left alone for a while.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from cachetools import LRUCache

from data.bundle import Manifest
from serving.telemetry.metrics import Metrics


class CacheKeys:
    """Makes keys; unlike those of any other model, precision, preprocessing or treatment of long texts."""

    def __init__(self, manifest: Manifest, precision: str, truncate: bool) -> None:
        parts = (manifest.digest, precision, manifest.fingerprint, "truncate" if truncate else "whole", "")
        self._before = hashlib.sha256("\x00".join(parts).encode())

    def of(self, texts: Iterable[str]) -> list[str]:
        """The key of each cleaned text."""
        keys = []
        for text in texts:
            digest = self._before.copy()
            digest.update(text.encode())
            keys.append(digest.hexdigest())
        return keys


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a caller allows: to be answered from a cache, and to have the answer kept in one (RFC 9111, 5.2.1)."""

    ask: bool = True
    keep: bool = True

    @classmethod
    def of(cls, cache_control: str) -> Self:
        """What a ``Cache-Control`` header of a request says."""
        directives = {part.partition("=")[0].strip().lower() for part in cache_control.split(",")}
        return cls(ask=not directives & {"no-cache", "no-store"}, keep="no-store" not in directives)


ASK_AND_KEEP = Reuse()


class SharedCache(Protocol):
    """A cache beyond this process; many keys at once, because a batch asks once for all its texts."""

    async def get(self, keys: Sequence[str]) -> list[float | None]:
        """What is known of each key, in order; None for a miss."""

    async def set(self, entries: Mapping[str, float]) -> None:
        """Keep ``entries``; may forget them at any time."""

    async def connected(self) -> bool:
        """Whether it answers now."""

    async def close(self) -> None:
        """Let go of connections."""


class TieredCache:
    """The least recently used entries of this process, and behind them a shared cache that fills them."""

    def __init__(self, entries: int, metrics: Metrics, shared: SharedCache | None = None) -> None:
        """``entries`` of 0 turns the in-process level off."""
        self._local: LRUCache[str, float] = LRUCache(maxsize=entries)
        self._metrics = metrics
        self._shared = shared

    @property
    def has_shared(self) -> bool:
        """Whether there is a shared level at all."""
        return self._shared is not None

    def peek(self, key: str) -> float | None:
        """Look one key up in this process."""
        return self._local.get(key)

    async def get(self, keys: Sequence[str], reuse: Reuse = ASK_AND_KEEP) -> list[float | None]:
        """What is known of each key, in order; None for a miss. Nothing is, where the caller does not allow it."""
        if not reuse.ask:
            self._metrics.looked_up("local", "bypass", len(keys))
            return [None] * len(keys)
        found = [self._local.get(key) for key in keys]
        missing = [key for key, value in zip(keys, found, strict=True) if value is None]
        self._metrics.looked_up("local", "hit", len(keys) - len(missing))
        self._metrics.looked_up("local", "miss", len(missing))
        if self._shared is None or not missing:
            return found
        shared = dict(zip(missing, await self._shared.get(missing), strict=True))
        self.keep({key: value for key, value in shared.items() if value is not None})
        return [shared[key] if value is None else value for key, value in zip(keys, found, strict=True)]

    def keep(self, entries: Mapping[str, float]) -> None:
        """Remember ``entries`` in this process."""
        if self._local.maxsize:
            self._local.update(entries)

    async def share(self, entries: Mapping[str, float]) -> None:
        """Remember ``entries`` in the shared level."""
        if self._shared is not None:
            await self._shared.set(entries)

    async def connected(self) -> bool:
        """Whether the shared level answers; False where there is none."""
        return self._shared is not None and await self._shared.connected()

    async def close(self) -> None:
        """Close the shared level."""
        if self._shared is not None:
            await self._shared.close()
