"""Whether callers need a key, and how much they may have, decided when a worker starts."""

import logging

from serving.access.access import Access
from serving.access.quota import Quota
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


def quota_of(settings: Settings) -> Quota | None:
    """What callers may have; None where there is no quota at all."""
    if settings.quota_key_texts is None and settings.quota_address_texts is None:
        return None
    return Quota(
        settings.quota_key_texts,
        settings.quota_address_texts,
        redis_url=settings.redis_url,
        name=settings.rollout_name,
        timeout_ms=settings.redis_timeout_ms,
        retry_after_s=settings.redis_retry_after_s,
    )
