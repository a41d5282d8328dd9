"""Which keys are live, as this worker knows it: read again every second, so that a revocation is in force soon."""

import asyncio
import logging
import time

from serving.access.keys import Key, Scope, split
from serving.access.store import KeyStore
from serving.errors import KeysUnreachable, NotAllowed, ScopeMissing, ServingError

log = logging.getLogger(__name__)

PERIOD_S = 1.0


class Access:
    """Checks keys against what the store said last.

    A store that cannot be reached, or has lost all its keys, changes nothing: keys are revoked, never taken away. A
    worker that starts meanwhile lets nobody in, and says that it cannot tell.
    """

    def __init__(self, store: KeyStore, *, needed: bool) -> None:
        """Without ``needed``, callers may come without a key, but for what an administrator does."""
        self.needed = needed
        self._store = store
        self._keys: dict[str, Key] | None = None
        self._failing = ""

    async def refresh(self) -> bool:
        """Read the keys again; says whether there are any."""
        try:
            found = {key.id: key for key in await self._store.read()}
            if self._keys and not found:
                raise KeysUnreachable("the store has lost its keys")
            self._keys, failing = found, ""
        except ServingError as error:
            failing = str(error)
        if failing and failing != self._failing:
            log.warning("%s; those known before stay in force", failing)
        elif self._failing and not failing:
            log.info("the keys can be read again")
        self._failing = failing
        return bool(self._keys)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.refresh()

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    def check(self, authorization: str | None, scope: Scope | None) -> Key | None:
        """The key that ``Authorization`` holds, if it opens ``scope``; with None any live key does.

        None where no key is needed and none is given. Raises NotAllowed, ScopeMissing and KeysUnreachable.
        """
        if authorization is None:
            if self.needed or scope == "admin":
                raise NotAllowed("the Authorization header is missing; it must hold a key as a bearer token")
            return None
        scheme, _, presented = authorization.partition(" ")
        parts = split(presented.strip()) if scheme.lower() == "bearer" else None
        if parts is None:
            raise NotAllowed("the Authorization header does not hold a key as a bearer token: Bearer nsmc_…")
        identifier, secret = parts
        if self._keys is None:
            raise KeysUnreachable("keys cannot be checked now")
        key = self._keys.get(identifier)
        if key is None or not key.opened_by(secret):
            raise NotAllowed("the key is not known")
        if not key.live(time.time()):
            raise NotAllowed(f"key {key.id} was revoked" if key.revoked is not None else f"key {key.id} has expired")
        if scope is not None and scope not in key.scopes:
            raise ScopeMissing(f"key {key.id} is for {', '.join(key.scopes)}; this needs {scope}")
        return key
