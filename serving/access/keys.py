"""API keys: an id in clear, and a secret of which only a salted digest is kept.

A key reads ``nsmc_<id>_<secret>``, with 256 random bits of secret. Against such a secret there is no guessing, so one
round of SHA-256 is enough; the salt keeps equal secrets from being seen as equal.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from data.errors import DataError
from data.typed import typed
from serving.errors import KeyInvalid

Scope = Literal["predict", "feedback", "admin"]
"""What a key is for: to have reviews judged, to correct verdicts, to roll out models."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
LIVE_KEYS = 2
"""Of one owner: the key in use, and the one that takes its place."""
MOST_DAYS = 3_650.0
_ID_BYTES, _SALT_BYTES, _SECRET_BYTES = 6, 16, 32
_KEY = re.compile(rf"nsmc_([0-9a-f]{{{2 * _ID_BYTES}}})_([A-Za-z0-9_-]{{43}})")
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key. Times are in seconds since 1970, ``revoked`` None as long as it is not."""

    id: str
    owner: str
    scopes: tuple[str, ...]
    salt: str
    digest: str
    created: float
    expires: float
    revoked: float | None = None

    def live(self, now: float) -> bool:
        """Whether it opens anything."""
        return self.revoked is None and now < self.expires

    def opened_by(self, secret: str) -> bool:
        """In a time that does not depend on how much of the secret is right."""
        return hmac.compare_digest(_digest(self.salt, secret), self.digest)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Any) -> Self:
        """What ``as_dict`` made. Raises KeyInvalid."""
        try:
            return typed(raw, cls)
        except DataError as error:
            raise KeyInvalid(f"a stored key cannot be read: {error}") from error


def issue(owner: str, scopes: tuple[str, ...], days: float, now: float) -> tuple[Key, str]:
    """A new key, and how it reads, which is nowhere else from then on. Raises KeyInvalid naming what is wrong."""
    if not _OWNER.fullmatch(owner):
        raise KeyInvalid(
            f"owner is {owner!r}; it must be 1 to 63 letters, digits or . _ @ -, not beginning with a sign"
        )
    if not scopes or not set(scopes) <= set(SCOPES):
        raise KeyInvalid(f"scopes are {', '.join(scopes) or 'none'}; they must be among {', '.join(SCOPES)}")
    if not 0.0 < days <= MOST_DAYS:
        raise KeyInvalid(f"days are {days:g}; they must be above 0 and at most {MOST_DAYS:g}")
    identifier, salt = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SALT_BYTES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    ordered = tuple(scope for scope in SCOPES if scope in scopes)
    key = Key(identifier, owner, ordered, salt, _digest(salt, secret), now, now + days * 86_400)
    return key, f"nsmc_{identifier}_{secret}"


def split(presented: str) -> tuple[str, str] | None:
    """Id and secret of what somebody presents; None for what is no key."""
    found = _KEY.fullmatch(presented)
    return None if found is None else (found[1], found[2])


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
