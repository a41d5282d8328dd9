"""Whether callers need a key, decided when a worker starts: not where nobody but this machine can reach it."""

import logging

from serving.access.access import Access
from serving.errors import SettingInvalid
from serving.lifecycle import public_addresses
from serving.settings import Settings

log = logging.getLogger(__name__)


async def admission(settings: Settings) -> Access:
    """The keys that there are, read once. Raises SettingInvalid where anybody could ask and nobody said so."""
    public = public_addresses() if settings.access is None else []
    access = Access(settings.keys(), needed=settings.access == "keys" or bool(public))
    known = await access.refresh()
    if public and not known:
        await access.close()
        raise SettingInvalid(
            f"the service listens on {', '.join(public)}, where other machines reach it, and there are no keys: "
            "create one (python -m serving.access create OWNER), or set ACCESS to keys, or to open"
        )
    if not access.needed:
        log.info("callers need no key (%s)", "ACCESS=open" if settings.access else "only this machine reaches it")
    return access
