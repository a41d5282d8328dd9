"""Keys for tests of the pages, and an access that knows them."""

import time
from pathlib import Path

from serving.access.access import Access
from serving.access.keys import Key, Scope, issue
from serving.access.store import FileKeys


def key_for(*scopes: Scope) -> tuple[Key, str]:
    """A key that is good for the time of the tests, and how it reads."""
    return issue("-".join(("for", *scopes)), scopes, 1.0, time.time())


async def access_of(file: Path, *keys: Key, needed: bool = True) -> Access:
    """``keys`` in ``file``, already read."""
    store = FileKeys(file)
    for key in keys:
        await store.add(key)
    access = Access(store, needed=needed)
    await access.refresh()
    return access
