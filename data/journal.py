"""What a service keeps of its work: what it judged, and what callers say it should have said. Lines of JSON.

A review is known by the digest of its cleaned text. Its text is there only where a caller who corrected it said that it
may be kept.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from data.errors import DataError, FormatError
from data.labels import NAMES
from data.typed import typed


@dataclass(frozen=True, slots=True)
class Judged:
    """What one request came to: N reviews by digest, each with its length and P(positive), and who judged.

    ``at`` is in seconds since 1970; ``request`` is the id that a correction may name, None where it cannot.
    """

    FILES: ClassVar[str] = "judged"

    at: float
    request: str | None
    model: str
    digests: tuple[str, ...]
    characters: tuple[int, ...]
    positive: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.digests) == len(self.characters) == len(self.positive):
            raise FormatError("digests, characters and positive must be of one length")


@dataclass(frozen=True, slots=True)
class Correction:
    """What a caller says a review should have been called: its class index.

    The review is the one with ``digest``, or number ``index`` of ``request``. ``caller`` is a pseudonym.
    """

    FILES: ClassVar[str] = "corrections"

    at: float
    caller: str
    label: int
    digest: str | None
    request: str | None
    index: int
    text: str | None

    def __post_init__(self) -> None:
        if self.label not in range(len(NAMES)):
            raise FormatError(f"label is {self.label}; it must be 0 or 1")
        if (self.digest is None) == (self.request is None):
            raise FormatError("either digest or request must be given")


Line = TypeVar("Line", Judged, Correction)


def text_digest(cleaned: str) -> str:
    """SHA-256 of a cleaned review in UTF-8, in hexadecimal: what it is known by."""
    return hashlib.sha256(cleaned.encode()).hexdigest()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def line_of(what: Judged | Correction) -> bytes:
    """A line of a journal."""
    # dataclasses.asdict copies all that it meets, which takes longer than all the rest
    return _encode({name: getattr(what, name) for name in what.__slots__}).encode() + b"\n"


@dataclass(slots=True)
class Reading:
    """How many lines of a journal were read, and how many are none: a worker that was killed may leave a piece."""

    lines: int = 0
    broken: int = 0

    def lines_of(self, kind: type[Line], folder: Path) -> Iterator[Line]:
        """All of ``kind`` in the journal in ``folder``, file by file, oldest first. Raises FormatError."""
        if not folder.is_dir():
            raise FormatError(f"{folder} is no folder; it must be a service's JOURNAL_FOLDER")
        for file in files_of(kind, folder):
            try:
                with file.open("rb") as lines:
                    for line in lines:
                        try:
                            found: Any = typed(json.loads(line), kind)
                        except (ValueError, RecursionError, DataError):
                            self.broken += 1
                            continue
                        self.lines += 1
                        yield found
            except OSError as error:
                raise FormatError(f"{file} cannot be read: {error.strerror}") from error


def files_of(kind: type[Judged] | type[Correction], folder: Path) -> list[Path]:
    """A journal's files: those that were put aside first."""
    return sorted(folder.glob(f"{kind.FILES}-*.old.ndjson")) + sorted(
        path for path in folder.glob(f"{kind.FILES}-*.ndjson") if not path.name.endswith(".old.ndjson")
    )
