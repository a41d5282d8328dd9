"""An append-only log whose entries hold each other in place: each one holds the digest of the one before.

Whoever changes, drops or moves an entry breaks the chain, which ``verify`` finds. That the last entries were cut off
shows only beside something else that says how many there are, or what the last one was.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from data.errors import DataError
from data.typed import typed

NOTHING = "0" * 64
"""The digest before the first entry."""


class LedgerBroken(DataError):
    """An entry that is not what was written, or not where."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what, when (seconds since 1970, UTC), from what to what, why, and by which figures."""

    number: int
    at: float
    who: str
    what: str
    before: str | None
    after: str | None
    why: str
    figures: dict[str, float] = field(default_factory=dict)
    previous: str = NOTHING

    @property
    def digest(self) -> str:
        """SHA-256 of the entry in its canonical form."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON, one line."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` made. Raises LedgerBroken."""
        try:
            raw: Any = json.loads(text)
            return typed(raw, cls)
        except (ValueError, DataError) as error:
            raise LedgerBroken(f"an entry cannot be read: {error}") from error


def following(last: Entry | None, *, at: float, who: str, what: str, **rest: Any) -> Entry:
    """The entry that comes after ``last``."""
    number, previous = (1, NOTHING) if last is None else (last.number + 1, last.digest)
    return Entry(number, at, who, what, previous=previous, **rest)


def verify(entries: Sequence[Entry]) -> None:
    """Raises LedgerBroken, naming the first entry that does not fit, unless ``entries`` are all there ever were."""
    previous = NOTHING
    for number, entry in enumerate(entries, start=1):
        if entry.number != number:
            raise LedgerBroken(f"entry {entry.number} stands where {number} should")
        if entry.previous != previous:
            raise LedgerBroken(f"entry {number} does not follow the one before it, which was changed or replaced")
        previous = entry.digest


def at_time(entries: Sequence[Entry], at: float) -> Entry | None:
    """The last entry that was written by then; what was live is its ``after``."""
    return next((entry for entry in reversed(entries) if entry.at <= at), None)
