"""Where keys are kept: one protocol, a file for one machine or a mounted secret; ``redis_store`` for a fleet."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from data.files import writing
from serving.access.keys import LIVE_KEYS, Key
from serving.errors import KeyInvalid, KeysUnreachable


class KeyStore(Protocol):
    """Keys are added and changed, never taken away: who had one is known. All of it may raise KeysUnreachable."""

    async def read(self) -> list[Key]:
        """All keys, also those that open nothing any more."""

    async def add(self, key: Key) -> None:
        """Raises KeyInvalid where its owner has as many live ones as allowed."""

    async def revoke(self, identifier: str, now: float) -> Key:
        """Raises KeyInvalid where there is none, naming those that there are."""

    async def close(self) -> None:
        """Let go of connections."""


def checked(key: Key, present: list[Key]) -> Key:
    """``key``, if it may be added to ``present``. Raises KeyInvalid."""
    live = [each.id for each in present if each.owner == key.owner and each.live(key.created)]
    if len(live) >= LIVE_KEYS:
        raise KeyInvalid(
            f"{key.owner} has {len(live)} live keys ({', '.join(live)}), which is what rotation needs; revoke one"
        )
    return key


def revoked(identifier: str, present: list[Key], now: float) -> Key:
    """The key with that id, without its force. Raises KeyInvalid."""
    found = next((each for each in present if each.id == identifier), None)
    if found is None:
        known = ", ".join(each.id for each in present) or "none"
        raise KeyInvalid(f"there is no key {identifier!r}; there are: {known}")
    return found if found.revoked is not None else replace(found, revoked=now)


class FileKeys:
    """A file of JSON, which its owner alone may read; written whole or not at all, by one at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def read(self) -> list[Key]:
        """See ``KeyStore``. A file that is not there holds no keys."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise KeysUnreachable(f"KEYS_FILE cannot be read: {type(error).__name__}") from error
        if not isinstance(content, list):
            raise KeyInvalid("KEYS_FILE holds no list of keys")
        return [Key.from_dict(raw) for raw in content]

    async def add(self, key: Key) -> None:
        """See ``KeyStore``."""
        with self._alone():
            present = await self.read()
            self._write([*present, checked(key, present)])

    async def revoke(self, identifier: str, now: float) -> Key:
        """See ``KeyStore``."""
        with self._alone():
            present = await self.read()
            gone = revoked(identifier, present, now)
            self._write([gone if each.id == identifier else each for each in present])
        return gone

    async def close(self) -> None:
        """See ``KeyStore``."""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file.with_name(f".{self._file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeysUnreachable(f"KEYS_FILE cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, keys: list[Key]) -> None:
        try:
            with writing(self._file, mode=0o600) as temporary:
                temporary.write_text(json.dumps([key.as_dict() for key in keys], indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise KeysUnreachable(f"KEYS_FILE cannot be written: {error.strerror}") from error
